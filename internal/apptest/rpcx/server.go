// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/smallnest/rpcx/server"
	kcp "github.com/xtaci/kcp-go"
)

// Request is data, and how much is wanted back. Silence is a request that is not answered.
type Request struct {
	Data    []byte
	Want    int
	Silence bool
}

// Answer is the checksum of a request's data, and what it wants.
type Answer struct {
	Sum  [sha256.Size]byte
	Data []byte
}

// service is what the server offers.
type service struct{}

// Exchange answers a request.
func (service) Exchange(_ context.Context, r *Request, a *Answer) error {
	if r.Silence {
		fmt.Println("asked")
		select {}
	}
	a.Sum, a.Data = sha256.Sum256(r.Data), noise(r.Want, 2)
	return nil
}

// reporter prints the end of a connection.
type reporter struct{}

// HandleConnClose is called by the server.
func (reporter) HandleConnClose(net.Conn) bool {
	fmt.Println("closed")
	return true
}

// serve is the server's process: it serves on an address until its standard input ends.
func serve(addr string) error {
	block, err := newCipher()
	if err != nil {
		return err
	}
	option, err := withCipher(block)
	if err != nil {
		return err
	}
	s := server.NewServer(option)
	s.DisableHTTPGateway = true
	s.Plugins.Add(reporter{})
	if err := s.RegisterName("Service", service{}, ""); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve("kcp", addr) }()
	select {
	case err := <-failed:
		return err
	case <-s.Started:
	}
	fmt.Println("serving")
	_, _ = io.Copy(io.Discard, os.Stdin)
	err = s.Close()
	// A process that ends at once takes with it what its sessions have yet to deliver.
	for begin := time.Now(); kcp.DefaultSnmp.Copy().CurrEstab > 0 && time.Since(begin) < callMost; {
		time.Sleep(10 * time.Millisecond)
	}
	return err
}

// process is a server's process.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	lines chan string
}

func startServer(addr string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, "serve", addr), lines: make(chan string, 100)}
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- strings.TrimSpace(scanner.Text())
		}
	}()
	return p, p.await("serving")
}

// await waits until the process prints a line.
func (p *process) await(want string) error {
	limit := time.After(callMost)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				return errors.New("the server has ended instead of: " + want)
			}
			if line == want {
				return nil
			}
		case <-limit:
			return errors.New("the server does not print: " + want)
		}
	}
}

// stop closes the server and waits for its process.
func (p *process) stop() error {
	p.stdin.Close()
	return p.cmd.Wait()
}

// kill ends the process without a farewell.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}
