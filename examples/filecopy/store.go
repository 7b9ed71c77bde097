// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"

	"github.com/seedkcp/kcp/examples/internal/progress"
)

// busyEvery is how many bytes are read between two signs of life.
const busyEvery = 256 << 20

// store is the directory that files are received into. os.Root keeps it from reaching anything
// outside, also by symbolic links. An incomplete file has a name made of the offer's name and
// SHA-256.
type store struct {
	root    *os.Root
	maxSize int64

	mu     sync.Mutex // guards active
	active map[string]*claim
}

// claim is the right to write one incomplete file.
type claim struct {
	sess patient
	over chan struct{} // closed when it is given up
}

func openStore(dir string, maxSize int64) (*store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &store{root: root, maxSize: maxSize, active: make(map[string]*claim)}, nil
}

func (s *store) close() { s.root.Close() }

func partName(o *offer) string { return fmt.Sprintf(".%s.%x.part", o.name, o.sum[:8]) }

// claim takes the incomplete file from a transfer that holds it. A sender that tries again has lost
// its old session, whose transfer may still run.
func (s *store) claim(name string, sess patient) *claim {
	mine := &claim{sess: sess, over: make(chan struct{})}
	s.mu.Lock()
	for s.active[name] != nil {
		other := s.active[name]
		s.mu.Unlock()
		other.sess.abort()
		<-other.over
		s.mu.Lock()
	}
	s.active[name] = mine
	s.mu.Unlock()
	return mine
}

func (s *store) release(name string, c *claim) {
	s.mu.Lock()
	delete(s.active, name)
	s.mu.Unlock()
	close(c.over)
}

// receive stores the bytes from sess and returns the offset at which they begin.
func (s *store) receive(sess patient, o *offer) (offset int64, err error) {
	if o.size > s.maxSize {
		return 0, fmt.Errorf("%s are more than the %s taken here", progress.Bytes(o.size), progress.Bytes(s.maxSize))
	}
	part := partName(o)
	defer s.release(part, s.claim(part, sess))

	present, err := s.present(sess, o)
	if err != nil {
		return 0, err
	}
	if present {
		_, err := sess.Write(verdict{kind: verdictGoOn, number: o.size}.append(nil))
		return o.size, err
	}
	f, err := s.root.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return 0, err
	}
	offset, err = s.fill(f, sess, o)
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	switch {
	case errors.Is(err, errDiffers):
		s.root.Remove(part) // a resumed copy would fail again
	case err == nil:
		err = s.publish(part, o.name)
	}
	return offset, err
}

// present reports whether the same file is there already. A different file of that name is an
// error.
func (s *store) present(sess patient, o *offer) (bool, error) {
	info, err := s.root.Lstat(o.name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if info.Mode().IsRegular() && info.Size() == o.size {
		f, err := s.root.Open(o.name)
		if err != nil {
			return false, err
		}
		defer f.Close()
		sum := sha256.New()
		if _, err := hashPart(sum, f, o.size, sess); err != nil {
			return false, err
		}
		if bytes.Equal(sum.Sum(nil), o.sum[:]) {
			return true, nil
		}
	}
	return false, &fs.PathError{Op: "store", Path: o.name, Err: fs.ErrExist}
}

// fill completes the file and checks it. The file keeps its bytes for a later try if the session
// fails or the disk is full.
func (s *store) fill(f *os.File, sess patient, o *offer) (offset int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	offset = info.Size()
	if !info.Mode().IsRegular() {
		return 0, fmt.Errorf("%s is not a regular file", partName(o))
	}
	if offset > o.size {
		offset = 0
		if err := f.Truncate(0); err != nil {
			return 0, err
		}
	}
	sum := sha256.New()
	if _, err := hashPart(sum, f, offset, sess); err != nil {
		return 0, err
	}
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, err
	}
	if _, err := sess.Write(verdict{kind: verdictGoOn, number: offset}.append(nil)); err != nil {
		return 0, err
	}
	if err := copyExactly(io.MultiWriter(f, sum), sess, o.size-offset); err != nil {
		return offset, err
	}
	if !bytes.Equal(sum.Sum(nil), o.sum[:]) {
		return offset, errDiffers
	}
	return offset, f.Sync()
}

var errDiffers = errors.New("SHA-256 differs from the original's: did it change meanwhile? Start again")

// copyExactly copies n bytes. A stream that ends before is an error.
func copyExactly(dst io.Writer, src io.Reader, n int64) error {
	copied, err := io.CopyBuffer(struct{ io.Writer }{dst}, io.LimitReader(src, n), make([]byte, chunk))
	if err == nil && copied < n {
		err = fmt.Errorf("the sender stopped after %s of %s", progress.Bytes(copied), progress.Bytes(n))
	}
	return err
}

// hashPart reads n bytes of r into h, and sends the peer a sign of life from time to time.
func hashPart(h hash.Hash, r io.Reader, n int64, sess patient) (int64, error) {
	for done := int64(0); done < n; {
		m, err := io.CopyN(h, r, min(n-done, busyEvery))
		done += m
		if err != nil {
			return done, err
		}
		if done < n {
			if _, err := sess.Write(verdict{kind: verdictBusy}.append(nil)); err != nil {
				return done, err
			}
		}
	}
	return n, nil
}

// publish gives a complete file its name, and never replaces a file.
func (s *store) publish(part, name string) error {
	reserved, err := s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	reserved.Close()
	if err := s.root.Rename(part, name); err != nil {
		s.root.Remove(name)
		return err
	}
	return nil
}

// reason puts an error into words for a sender: which operation failed on this
// machine, but nothing of its directories.
func reason(err error) string {
	var path *fs.PathError
	switch {
	case errors.Is(err, errDiskFull):
		return "the disk is full; make room there, and start again to go on"
	case errors.Is(err, fs.ErrExist):
		return "a file of this name is there already"
	case errors.Is(err, fs.ErrPermission):
		return "the directory cannot be written to"
	case errors.As(err, &path):
		return fmt.Sprintf("cannot %s the file: %v", path.Op, path.Err)
	}
	return err.Error()
}
