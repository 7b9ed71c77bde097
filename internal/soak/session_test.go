// SPDX-License-Identifier: MIT

package soak

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/seedkcp/kcp"
)

// A client's stream begins with a plan: the seeds and sizes of both streams. Behind it come the
// bytes that the client's seed makes, and the answer is the bytes of the other.
const planSize = 8 + 8 + 4 + 4

type plan struct {
	up, down         uint64
	upSize, downSize uint32
}

func drawPlan(rng *rand.Rand) plan {
	size := func() uint32 { return uint32(rng.IntN([]int{10, 10_000, 1_000_000}[rng.IntN(3)])) }
	return plan{rng.Uint64(), rng.Uint64(), size(), size()}
}

func (p plan) bytes() []byte {
	b := binary.LittleEndian.AppendUint64(nil, p.up)
	b = binary.LittleEndian.AppendUint64(b, p.down)
	b = binary.LittleEndian.AppendUint32(b, p.upSize)
	return binary.LittleEndian.AppendUint32(b, p.downSize)
}

func readPlan(r io.Reader) (plan, error) {
	var b [planSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return plan{}, err
	}
	le := binary.LittleEndian
	return plan{le.Uint64(b[:]), le.Uint64(b[8:]), le.Uint32(b[16:]), le.Uint32(b[20:])}, nil
}

// stream returns the bytes that a seed makes.
func stream(seed uint64, size uint32) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte(bytes.Repeat(binary.LittleEndian.AppendUint64(nil, seed), 4))).Read(b)
	return b
}

// errWrongBytes is the one error that is never allowed.
var errWrongBytes = errors.New("bytes that were not written")

// expect reads a stream to its end and compares it.
func expect(r io.Reader, want []byte) error {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		if n > len(want) || !bytes.Equal(buf[:n], want[:n]) {
			return errWrongBytes
		}
		want = want[n:]
		switch {
		case err == io.EOF && len(want) == 0:
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// answer is the server's side of a session. How it ends is the client's choice, so that only wrong
// bytes are an error here.
func (s *soak) answer(conn *kcp.UDPSession) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	p, err := readPlan(conn)
	if err != nil {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := conn.Write(stream(p.down, p.downSize)); err == nil {
			_ = conn.CloseWrite()
		}
	})
	if err := expect(conn, stream(p.up, p.upSize)); errors.Is(err, errWrongBytes) {
		s.t.Errorf("the server of conv %d: %v", conn.GetConv(), err)
	}
	wg.Wait()
}

// session is the client's side of one session. Most move everything. Some are closed under way, and
// some lose their path for good.
func (s *soak) session(r *relay, c kcp.Config, rng *rand.Rand) {
	conn, err := c.Dial(s.t.Context(), r.address())
	if err != nil {
		s.t.Error(err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	p, after := drawPlan(rng), time.Duration(rng.IntN(300))*time.Millisecond
	var cut sync.WaitGroup
	defer cut.Wait()
	counter, sure := &s.done, true
	switch rng.IntN(8) {
	case 0:
		counter, sure = &s.ended, false
		cut.Go(func() { time.Sleep(after); _ = conn.Close() })
	case 1:
		counter, sure = &s.lost, false
		cut.Go(func() { time.Sleep(after); r.dark.Store(true) })
	}
	counter.Add(1)
	errs := make(chan error, 1)
	go func() { errs <- upload(conn, p) }()
	down := expect(conn, stream(p.down, p.downSize))
	up := <-errs
	for _, err := range []error{up, down} {
		if err != nil && (sure || !allowed(err)) {
			s.t.Errorf("conv %d: %v, up %v, down %v, config %+v\n%+v", conn.GetConv(), err, up, down, c, conn.Stats())
			return
		}
	}
	s.bytes.Add(int64(p.upSize) + int64(p.downSize))
	if sure {
		// The relay must live until the peer has acknowledged the end.
		s.finish(conn)
	}
}

func upload(conn *kcp.UDPSession, p plan) error {
	if _, err := conn.Write(append(p.bytes(), stream(p.up, p.upSize)...)); err != nil {
		return err
	}
	return conn.CloseWrite()
}

// allowed are the ends of a session that was closed or whose path is gone.
func allowed(err error) bool {
	return errors.Is(err, os.ErrClosed) || isClosed(err) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.ETIMEDOUT)
}

// finish closes a session and waits until its peer has what it sent.
func (s *soak) finish(conn *kcp.UDPSession) {
	if err := conn.Close(); err != nil {
		s.t.Errorf("conv %d: close: %v", conn.GetConv(), err)
	}
	select {
	case <-conn.Done():
	case <-time.After(30 * time.Second):
		s.t.Errorf("conv %d has no end", conn.GetConv())
	}
}
