// SPDX-License-Identifier: MIT

package apptest

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// A request is how many bytes are wanted, followed by data. Its answer is the checksum of that data,
// followed by as many bytes. A request for silence is not answered.
const silence = 1<<32 - 1

func newRequest(want uint32, data []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, want), data...)
}

// answer returns the answer to a request, or false if there is none.
func answer(request []byte) ([]byte, bool) {
	if len(request) < 4 {
		return nil, true
	}
	want := binary.BigEndian.Uint32(request)
	if want == silence {
		return nil, false
	}
	sum := sha256.Sum256(request[4:])
	return append(sum[:], noise(int(want), uint64(len(request)))...), true
}

// handler is what a server reports to.
type handler struct {
	asked chan struct{} // a request for silence has arrived
	ends  chan error    // how connections have ended, as the protocol tells its user
}

func newHandler() *handler {
	return &handler{asked: make(chan struct{}, 10), ends: make(chan error, 10)}
}

func (h *handler) answer(request []byte) ([]byte, bool) {
	b, ok := answer(request)
	if !ok {
		h.asked <- struct{}{}
	}
	return b, ok
}

func (h *handler) ended(err error) { h.ends <- err }

// client is the side of a program that dials.
type client interface {
	// call sends a request and returns the answer. Calls may be made at the same time.
	call(request []byte) ([]byte, error)
	// Close closes the connection, as a program that has ended does.
	Close() error
}

// exchange moves size bytes in each direction and compares them.
func exchange(c client, size int, seed uint64) error {
	request := newRequest(uint32(size), noise(size, seed))
	got, err := c.call(request)
	if err != nil {
		return err
	}
	if want, _ := answer(request); !bytes.Equal(got, want) {
		return fmt.Errorf("%d bytes came back changed, want %d", len(got), len(want))
	}
	return nil
}

// exchangeAll makes several exchanges at the same time.
func exchangeAll(c client, calls, size int) error {
	errs := make([]error, calls)
	var all sync.WaitGroup
	for i := range calls {
		all.Go(func() { errs[i] = exchange(c, size+i, uint64(i)) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
	return err
}

func readFrame(r io.Reader) ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

// serveStream answers the requests of a stream until it ends, and returns how it has ended.
func (h *handler) serveStream(s io.ReadWriter) error {
	for {
		request, err := readFrame(s)
		if err != nil {
			return err
		}
		if b, ok := h.answer(request); ok {
			if err := writeFrame(s, b); err != nil {
				return err
			}
		}
	}
}

// streamClient calls over streams.
type streamClient struct {
	open  func() (io.ReadWriteCloser, error) // a stream of its own for each call
	close func() error
	wait  func() error // waits for the end of the connection, and returns why; nil: calls return it
}

func (c *streamClient) call(request []byte) ([]byte, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	if err := writeFrame(s, request); err != nil {
		return nil, err
	}
	return readFrame(s)
}

func (c *streamClient) Close() error { return c.close() }

// oneStream lends the only stream of a connection to one call at a time. It has no mutex, because a
// goroutine that waits for a mutex stops virtual time.
type oneStream struct {
	io.ReadWriter
	lent chan struct{} // has an element while it is lent
}

func newOneStream(s io.ReadWriter) *oneStream {
	return &oneStream{s, make(chan struct{}, 1)}
}

func (s *oneStream) lend() (io.ReadWriteCloser, error) {
	s.lent <- struct{}{}
	return s, nil
}

// Close gives the stream back.
func (s *oneStream) Close() error {
	<-s.lent
	return nil
}
