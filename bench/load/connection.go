// Package load asks a server for tokens, many at a time, and measures how long the
// answers take. It speaks just as much HTTP as that needs, so that on a machine
// with few processors most of them are left to the server.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"time"
)

const (
	maxBody   = 64 << 10         // bytes
	patience  = 30 * time.Second // for one answer
	dialLimit = 5 * time.Second
)

// Post is a request for a token, as bytes on the wire, with a JSON body or none.
func Post(host, path, bearer, body string) []byte {
	kind := ""
	if body != "" {
		kind = "Content-Type: application/json\r\n"
	}
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nAccept: application/json\r\n%sContent-Length: %d\r\n\r\n%s",
		path, host, bearer, kind, len(body), body)
}

// An Answer is what a server said. Its body is good until the next exchange.
type Answer struct {
	Status     int
	RetryAfter time.Duration // 0 when there is none
	Body       []byte
	closes     bool
}

// A Connection is one connection to a server, kept alive.
type Connection struct {
	address string
	from    netip.Addr
	conn    net.Conn // nil until it is needed
	in      *bufio.Reader
	body    []byte
}

// NewConnection will connect to the address, from any of ours or from the given one.
func NewConnection(address string, from netip.Addr) *Connection {
	return &Connection{address: address, from: from, in: bufio.NewReaderSize(nil, 8<<10)}
}

// Close closes it. The next exchange opens another.
func (c *Connection) Close() {
	if c.conn != nil {
		_ = c.conn.Close() // whatever it says, it is gone
		c.conn = nil
	}
}

// Exchange sends a request and reads the answer.
func (c *Connection) Exchange(ctx context.Context, request []byte) (Answer, error) {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return Answer{}, err
		}
	}
	answer, err := c.exchange(request)
	if err != nil || answer.closes {
		c.Close()
	}
	return answer, err
}

func (c *Connection) dial(ctx context.Context) (err error) {
	dialer := net.Dialer{Timeout: dialLimit}
	if c.from.IsValid() {
		dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 0))
	}
	if c.conn, err = dialer.DialContext(ctx, "tcp", c.address); err != nil {
		c.conn = nil
		return err
	}
	c.in.Reset(c.conn)
	return nil
}

func (c *Connection) exchange(request []byte) (a Answer, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return a, err
	}
	if _, err := c.conn.Write(request); err != nil {
		return a, err
	}
	length, err := c.readHead(&a)
	if err != nil {
		return a, err
	}
	if cap(c.body) < length {
		c.body = make([]byte, length)
	}
	a.Body = c.body[:length]
	_, err = io.ReadFull(c.in, a.Body)
	return a, err
}

// readHead reads the status and what matters of the header.
func (c *Connection) readHead(a *Answer) (length int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errors.New("the answer is not HTTP/1.1")
	}
	if a.Status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, errors.New("the answer has no status")
	}
	length = -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok { // the empty line
			break
		}
		if length, err = a.header(name, bytes.TrimSpace(value), length); err != nil {
			return 0, err
		}
	}
	if length < 0 || length > maxBody {
		return 0, fmt.Errorf("the answer's body has no length, or more than %d bytes", maxBody)
	}
	return length, nil
}

func (a *Answer) header(name, value []byte, length int) (int, error) {
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		return strconv.Atoi(string(value))
	case bytes.EqualFold(name, []byte("Retry-After")):
		seconds, err := strconv.Atoi(string(value))
		a.RetryAfter = time.Duration(seconds) * time.Second
		return length, err
	case bytes.EqualFold(name, []byte("Connection")):
		a.closes = bytes.EqualFold(value, []byte("close"))
	}
	return length, nil
}
