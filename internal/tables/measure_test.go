// SPDX-License-Identifier: MIT

package tables

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seedkcp/kcp"
	"github.com/seedkcp/kcp/internal/simpair"
)

const (
	messageSize  = 100
	messageEvery = 33 * time.Millisecond
	// warmUp messages come before those that count: a congestion window begins with one segment.
	warmUp = 300
	// keptUp is the share of the messages that must have arrived when the last one is due. With
	// less, the settings do not carry the load, and a delay would only show the length of the
	// measurement.
	keptUp = 0.98
)

// latency is how long messages take from the moment they are due to be written until they have been
// read.
type latency struct {
	p50, p99, p999 time.Duration
	overload       bool    // the settings do not carry the load, and the times mean nothing
	sent           float64 // datagrams for each message, on its way
	bytes          float64 // of UDP payload for each message
}

// measureLatency sends count messages and those of the warm-up.
func measureLatency(t *testing.T, seed uint64, p path, c kcp.Config, count int) (l latency) {
	synctest.Test(t, func(t *testing.T) {
		n := simpair.New(t, seed, p.profile(), c, 1)
		defer n.Close()
		count += warmUp
		start := time.Now()
		due := func(i int) time.Time { return start.Add(time.Duration(i) * messageEvery) }
		written := make(chan struct{})
		go func() {
			defer close(written)
			msg := make([]byte, messageSize)
			for i := range count {
				time.Sleep(time.Until(due(i)))
				binary.LittleEndian.PutUint32(msg, uint32(i))
				if _, err := n.Client.Write(msg); err != nil {
					return
				}
			}
		}()
		took, inTime := readMessages(t, n, count, due)
		_ = n.Client.SetWriteDeadline(time.Now())
		<-written
		l.summarize(n.Client.Stats(), took, count, inTime)
	})
	return l
}

// readMessages returns how long each message took, and how many of them came before the sending was
// to end.
func readMessages(t *testing.T, n *simpair.Pair, count int, due func(int) time.Time) (took []time.Duration, inTime int) {
	end := due(count)
	_ = n.Server.SetReadDeadline(end.Add(10 * time.Second))
	buf := make([]byte, 2*messageSize)
	for i := range count {
		size, err := n.Server.Read(buf)
		if err != nil {
			break
		}
		if got := binary.LittleEndian.Uint32(buf); size != messageSize || got != uint32(i) {
			t.Errorf("message %d has %d bytes, want message %d of %d", got, size, i, messageSize)
			break
		}
		if time.Now().Before(end) {
			inTime++
		}
		took = append(took, time.Since(due(i)))
	}
	return took, inTime
}

// measureGoodput returns the bits a second of a bulk transfer's first span, its start included.
func measureGoodput(t *testing.T, seed uint64, p path, c kcp.Config, span time.Duration) (bits float64) {
	synctest.Test(t, func(t *testing.T) {
		n := simpair.New(t, seed, p.profile(), c, 1)
		defer n.Close()
		go func() {
			chunk := make([]byte, 64<<10)
			for {
				if _, err := n.Client.Write(chunk); err != nil {
					return
				}
			}
		}()
		_ = n.Server.SetReadDeadline(time.Now().Add(span))
		total := 0
		for buf := make([]byte, 64<<10); ; {
			got, err := n.Server.Read(buf)
			total += got
			if err != nil {
				break
			}
		}
		bits = float64(total) * 8 / span.Seconds()
	})
	return bits
}
