package phone_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tokensvc/tokensvc/e2e/process"
)

const (
	modules = "../../web/test" // that has what drives the browser
	// patience is for one command to the browser, on a busy machine. It is above
	// the driver's own, which says better what it has waited for.
	patience = 60 * time.Second
	largest  = 8 << 20 // bytes of an answer
)

// browser is a running Chromium, empty at first.
type browser struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	lines  <-chan []byte
	stderr output
}

// order is a command to the driver, whose comments say what they do.
type order struct {
	Do       string `json:"do"`
	Tab      string `json:"tab,omitempty"`
	URL      string `json:"url,omitempty"`
	Script   string `json:"script,omitempty"`
	Selector string `json:"selector,omitempty"`
	Key      string `json:"key,omitempty"`
	Path     string `json:"path,omitempty"`
	Scheme   string `json:"scheme,omitempty"`
	Width    int    `json:"width,omitempty"`
	Height   int    `json:"height,omitempty"`
	Offline  bool   `json:"offline"`
	Millis   int64  `json:"ms,omitempty"`
}

// startBrowser starts one that ends with the test.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		process.Skip(t, "chromium is not installed: the softphone runs in it")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		process.Skip(t, "node is not installed: the browser is driven by a Node program")
	}
	folder, err := filepath.Abs(modules)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "playwright-core")); err != nil {
		process.Skip(t, "web/test/node_modules is missing: run `npm ci` in web/test")
	}
	// The test's context is done before its clean-up, and would kill.
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), node, "driver.mjs", folder, chromium)
	b := &browser{t: t, cmd: cmd}
	cmd.Stderr = &b.stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if b.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b.lines = readLines(stdout)
	t.Cleanup(b.stop)
	b.answer("its start", nil)
	t.Cleanup(b.wantNoSecret) // when all else has stopped, and no page goes on
	return b
}

// readLines closes the channel when the driver is gone.
func readLines(stdout io.Reader) <-chan []byte {
	lines := make(chan []byte, 8)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(stdout)
		scanner.Buffer(nil, largest)
		for scanner.Scan() {
			lines <- bytes.Clone(scanner.Bytes())
		}
	}()
	return lines
}

func (b *browser) stop() {
	_ = b.stdin.Close() // ends it
	kill := time.AfterFunc(patience, func() { _ = b.cmd.Process.Kill() })
	defer kill.Stop()
	for range b.lines { // Wait must not close the pipe before it is read
	}
	if err := b.cmd.Wait(); err != nil {
		b.t.Errorf("the browser's driver: %v", err)
	}
	if b.t.Failed() {
		b.t.Logf("in the browser:\n%s", b.stderr.String())
	}
}

// do has the driver do something, and reads what it answers.
func (b *browser) do(o order, into any) {
	b.t.Helper()
	line, err := json.Marshal(o)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.stdin.Write(append(line, '\n')); err != nil {
		b.t.Fatalf("the browser's driver: %v\n%s", err, b.stderr.String())
	}
	b.answer(o.Do, into)
}

func (b *browser) answer(what string, into any) {
	b.t.Helper()
	select {
	case line, running := <-b.lines:
		var said struct {
			Is     json.RawMessage
			Failed string
		}
		switch err := json.Unmarshal(line, &said); {
		case !running:
			b.t.Fatalf("the browser's driver ended at %s:\n%s", what, b.stderr.String())
		case err != nil:
			b.t.Fatalf("the browser's driver answered %s to %s: %v", line, what, err)
		case said.Failed != "":
			b.t.Fatalf("the browser: %s", said.Failed)
		}
		if into == nil {
			return
		}
		if err := json.Unmarshal(said.Is, into); err != nil {
			b.t.Fatalf("the browser's driver answered %s to %s: %v", said.Is, what, err)
		}
	case <-time.After(patience):
		b.t.Fatalf("no answer to %s within %v:\n%s", what, patience, b.stderr.String())
	}
}

// tab is a page in a browser.
type tab struct {
	*browser
	name string
}

// open opens an address in a new tab of that name.
func (b *browser) open(name, url string) *tab {
	b.t.Helper()
	b.do(order{Do: "open", Tab: name, URL: url}, nil)
	return &tab{b, name}
}

func (t *tab) tell(o order, into any) {
	t.t.Helper()
	o.Tab = t.name
	t.do(o, into)
}

// value is what a script comes to in the page.
func (t *tab) value(script string, into any) {
	t.t.Helper()
	t.tell(order{Do: "run", Script: script}, into)
}

// await waits for a script to come to something true.
func (t *tab) await(script string) {
	t.t.Helper()
	t.tell(order{Do: "until", Script: script}, nil)
}

func (t *tab) click(selector string) {
	t.t.Helper()
	t.tell(order{Do: "click", Selector: selector}, nil)
}

func (t *tab) reload() {
	t.t.Helper()
	t.tell(order{Do: "reload"}, nil)
}

func (t *tab) close() {
	t.t.Helper()
	t.tell(order{Do: "close"}, nil)
}

// output collects what a process writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
