// Command bare is the ceiling: a bare net/http handler that answers every request
// with the same bytes, about as many as a token's answer has. What a server does
// besides is measured against it.
package main

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "`address` to listen on")
	size := flag.Int("bytes", 900, "how many `bytes` the body of an answer has")
	flag.Parse()
	if err := serve(*listen, *size); err != nil {
		fmt.Fprintln(os.Stderr, "bench/bare:", err)
		os.Exit(1)
	}
}

func serve(listen string, size int) error {
	const head, tail = `{"token":"eyJ`, `"}`
	body := []byte(head + strings.Repeat("x", max(0, size-len(head)-len(tail))) + tail)
	length := strconv.Itoa(len(body))
	server := &http.Server{Addr: listen, ReadHeaderTimeout: 5 * time.Second}
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Content-Length", length)
		_, _ = w.Write(body) // to whoever is still there
	})
	return server.ListenAndServe()
}
