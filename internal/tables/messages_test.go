// SPDX-License-Identifier: MIT

package tables

import (
	"encoding/binary"
	"io"
	"slices"
	"time"
)

// A talk is a stream of small messages beside transfers.
type talk struct {
	done chan struct{}
	took []time.Duration // by message, from the moment it was due
}

// chat starts a session in no-delay mode that sends a message at each interval. Those that are due
// between two times from now count.
func (w *world) chat(every, from, to time.Duration) *talk {
	w.t.Helper()
	client, server := w.pair(free())
	start := time.Now()
	m := &talk{done: make(chan struct{})}
	go func() {
		msg := make([]byte, messageSize)
		for i := range int(to / every) {
			due := time.Duration(i) * every
			time.Sleep(time.Until(start.Add(due)))
			binary.LittleEndian.PutUint64(msg, uint64(due))
			if _, err := client.Write(msg); err != nil {
				return
			}
		}
	}()
	go func() {
		defer close(m.done)
		msg := make([]byte, messageSize)
		_ = server.SetReadDeadline(start.Add(to))
		for {
			if _, err := io.ReadFull(server, msg); err != nil {
				return
			}
			if due := time.Duration(binary.LittleEndian.Uint64(msg)); due >= from {
				m.took = append(m.took, time.Since(start)-due)
			}
		}
	}()
	return m
}

// times waits for the end and returns p50 and p99.
func (m *talk) times() (p50, p99 time.Duration) {
	<-m.done
	if len(m.took) == 0 {
		return time.Hour, time.Hour
	}
	slices.Sort(m.took)
	return m.took[len(m.took)/2], m.took[len(m.took)*99/100]
}
