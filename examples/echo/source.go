// SPDX-License-Identifier: MIT

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/seedkcp/kcp/examples/internal/progress"
)

// mebibyte is the unit of -size.
const mebibyte = 1 << 20

// maxMebi bounds -size so that the byte count fits an int64 with room to spare.
const maxMebi = int64(1) << 30

// source is what the client streams: size bytes, and how to call them.
type source struct {
	io.Reader
	io.Closer
	name string
	size int64
}

// openSource opens the file at path, or stands in mebi MiB of generated data
// for an empty path.
func openSource(path string, mebi int) (*source, error) {
	if path == "" {
		size := int64(mebi) * mebibyte
		return &source{
			Reader: io.LimitReader(generator(), size),
			Closer: io.NopCloser(nil),
			name:   progress.Bytes(size) + " of generated data",
			size:   size,
		}, nil
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	// A file that grows meanwhile is streamed up to the size it had here.
	return &source{
		Reader: io.LimitReader(f, info.Size()),
		Closer: f,
		name:   fmt.Sprintf("%s (%s)", path, progress.Bytes(info.Size())),
		size:   info.Size(),
	}, nil
}

// generator returns an endless reader of pseudo-random bytes, the same ones
// every time.
func generator() io.Reader {
	return rand.NewChaCha8([32]byte([]byte("kcp echo example: any fixed seed")))
}
