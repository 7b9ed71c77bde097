// SPDX-License-Identifier: MIT

// Rpcxtest runs rpcx over its own transport for github.com/xtaci/kcp-go, for which a replace line in
// go.mod puts the library in this tree. Client and server are processes of their own, and a relay
// between them loses 5 % of the datagrams. It prints how each sees the end of the other, as a row of
// a table.
//
//	go run -tags kcp .
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/smallnest/rpcx/client"
	"github.com/smallnest/rpcx/log"
	"github.com/smallnest/rpcx/protocol"
	kcp "github.com/xtaci/kcp-go"
)

const (
	callSize = 256 << 10
	callMost = 15 * time.Second // for any step
)

func main() {
	log.SetDummyLogger()
	var err error
	if len(os.Args) == 3 && os.Args[1] == "serve" {
		err = serve(os.Args[2])
	} else {
		err = run(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rpcxtest:", err)
		os.Exit(1)
	}
}

// newCipher returns an AEAD: with one, a server that has been restarted ends the sessions of the old
// one at once.
func newCipher() (kcp.BlockCrypt, error) { return kcp.NewAESGCMCrypt(make([]byte, 16)) }

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// run plays the three endings and prints the row.
func run(out io.Writer) error {
	var cells []string
	for _, end := range []func(*scene) (string, error){closeClient, closeServer, killServer} {
		s, err := newScene()
		if err != nil {
			return err
		}
		cell, err := end(s)
		s.end()
		if err != nil {
			return err
		}
		cells = append(cells, cell)
	}
	_, err := fmt.Fprintf(out, "| %s |\n", strings.Join(cells, " | "))
	return err
}

// scene is a client that has exchanged data with a server, and waits for an answer that does not
// come.
type scene struct {
	addr    string
	server  *process
	relay   *relay
	client  *client.Client
	pending chan error
}

func newScene() (s *scene, err error) {
	s = &scene{pending: make(chan error, 1)}
	defer func() {
		if err != nil {
			s.end()
		}
	}()
	if s.addr, err = freeAddr(); err != nil {
		return s, err
	}
	if s.server, err = startServer(s.addr); err != nil {
		return s, err
	}
	if s.relay, err = newRelay(s.addr); err != nil {
		return s, err
	}
	block, err := newCipher()
	if err != nil {
		return s, err
	}
	option := client.DefaultOption
	option.Block, option.SerializeType = block, protocol.MsgPack
	s.client = client.NewClient(option)
	if err := s.client.Connect("kcp", s.relay.addr()); err != nil {
		return s, err
	}
	if err := s.exchange(); err != nil {
		return s, err
	}
	go func() { s.pending <- s.call(&Request{Silence: true}, new(Answer)) }()
	return s, s.server.await("asked")
}

// freeAddr returns an address that a server may listen on, and again after it has been killed.
func freeAddr() (string, error) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer conn.Close()
	return conn.LocalAddr().String(), nil
}

func (s *scene) call(r *Request, a *Answer) error {
	ctx, cancel := context.WithTimeout(context.Background(), callMost)
	defer cancel()
	return s.client.Call(ctx, "Service", "Exchange", r, a)
}

// exchange moves data in both directions, in several calls at the same time.
func (s *scene) exchange() error {
	const calls = 4
	errs := make(chan error, calls)
	for range calls {
		go func() {
			r, a := &Request{Data: noise(callSize, 1), Want: callSize}, new(Answer)
			err := s.call(r, a)
			if err == nil && (a.Sum != sha256.Sum256(r.Data) || !bytes.Equal(a.Data, noise(callSize, 2))) {
				err = errors.New("the data has changed")
			}
			errs <- err
		}()
	}
	var err error
	for range calls {
		err = errors.Join(err, <-errs)
	}
	return err
}

// end ends what is left of the scene.
func (s *scene) end() {
	if s.client != nil {
		_ = s.client.Close()
	}
	if s.relay != nil {
		s.relay.close()
	}
	if s.server != nil {
		s.server.kill()
	}
}

func closeClient(s *scene) (string, error) {
	if err := s.client.Close(); err != nil {
		return "", err
	}
	return "HandleConnClose", s.server.await("closed")
}

func closeServer(s *scene) (string, error) {
	stopped := make(chan error, 1)
	go func() { stopped <- s.server.stop() }()
	return describe(<-s.pending), <-stopped
}

// killServer also starts the server again, as whatever watches over it does. Another call tells the
// new server of the session.
func killServer(s *scene) (cell string, err error) {
	s.server.kill()
	if s.server, err = startServer(s.addr); err != nil {
		return "", err
	}
	go func() { _ = s.call(&Request{}, new(Answer)) }()
	return describe(<-s.pending), nil
}

// describe returns which of the errors that programs compare with err matches.
func describe(err error) string {
	var names []string
	for _, c := range []struct {
		err  error
		name string
	}{
		{client.ErrShutdown, "client.ErrShutdown"},
		{context.DeadlineExceeded, "context.DeadlineExceeded"},
		{io.EOF, "io.EOF"},
		{io.ErrUnexpectedEOF, "io.ErrUnexpectedEOF"},
		{syscall.ECONNRESET, "ECONNRESET"},
		{syscall.ETIMEDOUT, "ETIMEDOUT"},
	} {
		if errors.Is(err, c.err) {
			names = append(names, c.name)
		}
	}
	if len(names) == 0 {
		return fmt.Sprint(err)
	}
	return strings.Join(names, ", ")
}
