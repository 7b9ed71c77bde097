// SPDX-License-Identifier: MIT

package kcp

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"
)

// A full backlog refuses new sessions only. A refused one gets in as soon as there is room.
func TestFullBacklogRefusesNewSessionsOnly(t *testing.T) {
	connRun(t, closeLink, func(t *testing.T, w *connWorld) {
		const backlog = 3
		c := Config{AcceptBacklog: backlog}
		l := w.serve(c)
		client := w.dial(c)
		server := w.join(client, l)
		var waiting []*UDPSession
		for i := range backlog + 2 {
			s := w.dial(c)
			connWrite(t, s, fmt.Sprint("number ", i))
			waiting = append(waiting, s)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(10 * time.Second)
		connWrite(t, client, "unharmed")
		connWantRead(t, server, "unharmed")
		for i := range backlog + 2 {
			s := w.accept(l)
			want := "number " + fmt.Sprint(i)
			if i < backlog {
				connWantRead(t, s, want)
				continue
			}
			t.Log("# the refused clients send their openers again, in an order of their own")
			got := make([]byte, len(want))
			_ = s.SetReadDeadline(time.Now().Add(time.Minute))
			if _, err := io.ReadFull(s, got); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range waiting {
			if connEnded(s) {
				t.Error("a session that waited has ended")
			}
		}
	})
}

func TestListenerCloseResetsTheUnaccepted(t *testing.T) {
	for name, c := range restartConfigs(t) {
		t.Run(name, func(t *testing.T) {
			connRun(t, closeLink, func(t *testing.T, w *connWorld) {
				client, server, l := w.pair(c)
				waits := w.dial(c)
				connWrite(t, waits, "let me in")
				time.Sleep(time.Second)
				began := time.Now()
				if err := l.Close(); err != nil {
					t.Fatal(err)
				}
				restartWantEnd(t, waits, "", connReset)
				if d := time.Since(began); d > 25*time.Millisecond {
					t.Errorf("the one that waited learned of it after %v", d)
				}
				time.Sleep(time.Hour)
				connWrite(t, client, "we live on")
				connWantRead(t, server, "we live on")
				closed := func() bool {
					_, err := l.demux.eps[0].conn.WriteTo([]byte{1}, client.LocalAddr())
					return errors.Is(err, net.ErrClosed)
				}
				if closed() {
					t.Error("the socket was closed under an accepted session")
				}
				late := w.dial(c)
				connWrite(t, late, "too late")
				client.Close()
				server.Close()
				time.Sleep(time.Second)
				if !connEnded(server) || !closed() {
					t.Error("the socket did not close with the last session")
				}
				late.SetLinger(0)
			})
		})
	}
}
