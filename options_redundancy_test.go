// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"
)

// game is a Config for small messages.
func game(r Redundancy) Config {
	return Config{NoDelay: true, FastResend: 2, NoCongestionControl: true, Redundancy: r}
}

func TestRedundancyOutOfRange(t *testing.T) {
	for _, r := range []Redundancy{-2, 4, 1 << 30} {
		c := game(r)
		if _, err := c.options(); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("Config.Redundancy %d: %v, want os.ErrInvalid", r, err)
		}
		inSession(t, game(0), func(t *testing.T, client, server *UDPSession) {
			if err := client.SetRedundancy(r); !errors.Is(err, os.ErrInvalid) {
				t.Errorf("SetRedundancy(%d) = %v, want os.ErrInvalid", r, err)
			}
		})
	}
}

// A program chooses whether small messages are copied, before and during a session.
func TestRedundancyIsChosen(t *testing.T) {
	plain := func(r Redundancy) Config { return Config{Redundancy: r} }
	stay := func(*UDPSession) error { return nil }
	set := func(r Redundancy) func(s *UDPSession) error {
		return func(s *UDPSession) error { return s.SetRedundancy(r) }
	}
	for _, tt := range []struct {
		name   string
		c      Config
		change func(s *UDPSession) error
		want   bool
	}{
		{"no-delay mode", game(RedundancyAuto), stay, true},
		{"no-delay mode, off", game(RedundancyOff), stay, false},
		{"no-delay mode, set off", game(RedundancyAuto), set(RedundancyOff), false},
		{"no-delay mode, set back", game(RedundancyOff), set(RedundancyAuto), true},
		{"default", plain(RedundancyAuto), stay, false},
		{"default, set to no-delay mode", plain(RedundancyAuto), func(s *UDPSession) error {
			s.SetNoDelay(1, 10, 2, 1)
			return nil
		}, true},
		{"two copies", plain(2), stay, true},
		{"set to two copies", plain(RedundancyAuto), set(2), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			link := simProfile{Delay: 50 * time.Millisecond}
			pairRun(t, 1, link, tt.c, func(t *testing.T, n *connPair) {
				before := n.client.Stats().CopiedSegments
				if err := tt.change(n.client); err != nil {
					t.Fatal(err)
				}
				for range 20 {
					mustWrite(t, n.client, make([]byte, 50))
					time.Sleep(20 * time.Millisecond)
				}
				mustRead(t, n.server, 20*50)
				if got := n.client.Stats().CopiedSegments - before; (got > 0) != tt.want {
					t.Errorf("%d segments were copied, want some: %v", got, tt.want)
				}
			})
		})
	}
}

// A legacy peer takes copies for late duplicates: it gets the data once, in order, and finds
// nothing wrong.
func TestLegacyPeersReceiveCopies(t *testing.T) {
	p := simProfile{Delay: 50 * time.Millisecond, Loss: 0.2}
	connRun(t, p, func(t *testing.T, w *connWorld) {
		server := w.legacyPeer(connServerAddr, nil, 0)
		client := w.dial(game(RedundancyAuto))
		var want []byte
		for i := range 300 {
			message := bytes.Repeat([]byte{byte(i)}, 20+i%90)
			want = append(want, message...)
			mustWrite(t, client, message)
			time.Sleep(20 * time.Millisecond)
		}
		if got := server.wait(len(want), time.Minute); !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived changed, want %d", len(got), len(want))
		}
		st := client.Stats()
		if st.CopiedSegments < 300 || st.InvalidFields > 0 {
			t.Errorf("%d copies, %d invalid fields, want 300 at least and none",
				st.CopiedSegments, st.InvalidFields)
		}
	})
}
