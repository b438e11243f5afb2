package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// fault is what is wrong with a backend. "kill" is not among them: it is done to
// a backend from outside.
type fault string

const (
	sound  fault = "none"
	hang   fault = "hang"  // accepts, reads, never answers
	broken fault = "reset" // half of the answer's head, then a reset
	failed fault = "500"   // answers 500 at once
	slow   fault = "slow"  // takes slowness times as long
	killed fault = "kill"  // kill -9
)

// slowness is how many times longer a slow backend takes.
const slowness = 100

// backendName is the header in which a backend names itself. What has it was not
// made by the proxy.
const backendName = "X-Backend"

// helper is the process of one backend. What to do it is told on its standard
// input, a word a line, and it says what it has counted on its standard output.
// It ends when its input does, so that none is left of a run that was killed.
type helper struct {
	id       int
	service  time.Duration // mean time for an answer; it is half to one and a half times as long
	slots    chan struct{} // taken while a request is worked on; nil: any number at once
	fault    atomic.Pointer[fault]
	requests atomic.Int64 // heads read so far, but for probes
}

// runHelper is the main of a backend's process: failures backend ID ADDRESS
// SERVICE SLOTS.
func runHelper(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 4 {
		return fmt.Errorf("backend %q: want ID ADDRESS SERVICE SLOTS", args)
	}
	id, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	service, err := time.ParseDuration(args[2])
	if err != nil {
		return err
	}
	slots, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	h := newHelper(id, service, slots)
	ln, err := net.Listen("tcp", args[1])
	if err != nil {
		return err
	}
	defer ln.Close()
	go h.accept(ln)
	return h.obey(in, out)
}

func newHelper(id int, service time.Duration, slots int) *helper {
	h := &helper{id: id, service: service}
	if slots > 0 {
		h.slots = make(chan struct{}, slots)
	}
	h.become(sound)
	return h
}

func (h *helper) become(f fault) { h.fault.Store(&f) }

// obey does what the lines of in say until they end. Each is answered by a line.
func (h *helper) obey(in io.Reader, out io.Writer) error {
	fmt.Fprintln(out, "listening")
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		if word := lines.Text(); word != "count" {
			h.become(fault(word))
		}
		fmt.Fprintln(out, h.requests.Load())
	}
	return lines.Err()
}

func (h *helper) accept(ln net.Listener) {
	for n := uint64(0); ; n++ {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go h.converse(c, rand.New(rand.NewPCG(uint64(h.id), n)).Float64)
	}
}

// converse serves the requests of one connection. They have no bodies.
func (h *helper) converse(c net.Conn, random func() float64) {
	defer c.Close()
	in := bufio.NewReader(c)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if req.URL.Path != probePath {
			h.requests.Add(1)
		}
		if !h.answer(c, in, random) {
			return
		}
	}
}

// answer does what the backend is told to do with a request; false ends the
// connection.
func (h *helper) answer(c net.Conn, in io.Reader, random func() float64) bool {
	switch f := *h.fault.Load(); f {
	case hang:
		_, _ = io.Copy(io.Discard, in) // until the proxy has had enough
		return false
	case broken:
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // makes a reset of the close
		}
		return false
	case failed:
		return h.write(c, 500)
	case slow:
		h.work(slowness*h.service, random)
	default:
		h.work(h.service, random)
	}
	return h.write(c, 200)
}

// work takes a slot, and its time.
func (h *helper) work(mean time.Duration, random func() float64) {
	if h.slots != nil {
		h.slots <- struct{}{}
		defer func() { <-h.slots }()
	}
	time.Sleep(time.Duration((0.5 + random()) * float64(mean)))
}

func (h *helper) write(c net.Conn, status int) bool {
	body := strings.Repeat("hello world ", 10)
	_, err := fmt.Fprintf(c, "HTTP/1.1 %d %s\r\n%s: %d\r\nContent-Length: %d\r\n\r\n%s",
		status, http.StatusText(status), backendName, h.id, len(body), body)
	return err == nil
}

// helperMain runs the helper and is what main ends with.
func helperMain(args []string) int {
	if err := runHelper(args, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "failures: backend: %v\n", err)
		return 1
	}
	return 0
}
