// SPDX-License-Identifier: MIT

package kcp

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"
)

// answerSize is the size of the answer in lossyAnswer: several times the initial allowance of an
// unvalidated address.
const answerSize = 10 << 10

// lossyAnswer runs one exchange on a path with a loss of one fifth: a request, and an answer that
// is written at once. It returns how long the client waited for the answer, or how much of it is
// missing.
func lossyAnswer(t *testing.T, seed uint64, c Config,
	closes bool) (took time.Duration, missing int) {
	t.Helper()
	link := simProfile{Delay: 5 * time.Millisecond, Loss: 0.2}
	connRunSeed(t, seed, link, func(t *testing.T, w *connWorld) {
		l := w.serve(c)
		client := w.dial(c)
		began := time.Now()
		var server sync.WaitGroup
		server.Go(func() {
			s, err := l.AcceptKCP()
			if err != nil {
				return
			}
			w.sessions = append(w.sessions, s)
			_, _ = s.Read(make([]byte, 100))
			_, _ = s.Write(pattern(answerSize, 1))
			if closes {
				_ = s.Close()
			}
		})
		mustWrite(t, client, pattern(100, 2))
		_ = client.SetReadDeadline(time.Now().Add(2 * time.Minute))
		got, _ := io.ReadFull(client, make([]byte, answerSize))
		took, missing = time.Since(began), answerSize-got
		_ = l.Close()
		server.Wait()
	})
	return took, missing
}

// An answer larger than the first allowance arrives soon on a path with a loss of one fifth. The
// dialled side, which has nothing more to send, asks until its address is validated.
func TestAnswerArrivesOnALossyPath(t *testing.T) {
	seeds := uint64(40)
	if *longForm {
		seeds = 3000
	}
	for name, c := range map[string]Config{
		"default":               {},
		"no congestion control": {NoCongestionControl: true},
		"fast": {NoDelay: true, FastResend: 2, NoCongestionControl: true,
			StreamMode: true},
	} {
		for _, closes := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " closes ", closes), func(t *testing.T) {
				var all []time.Duration
				lost := 0
				for seed := range seeds {
					took, missing := lossyAnswer(t, seed+1, c, closes)
					if missing > 0 {
						lost++
						t.Logf("seed %d: %d bytes are missing after %v", seed+1, missing, took)
					}
					all = append(all, took)
				}
				slices.Sort(all)
				most := all[len(all)-1]
				t.Logf("%d seeds, %d lost; median %v, 90 %% %v, 99 %% %v, 99.9 %% %v, most %v",
					seeds, lost,
					percentile(all, 50), percentile(all, 90), percentile(all, 99),
					all[len(all)*999/1000], most)
				latest := 4 * time.Second
				if !c.NoCongestionControl {
					latest = 10 * time.Second // it halts the sender at each loss
				}
				if lost > 0 || most > latest ||
					*longForm && c.NoCongestionControl && percentile(all, 99) > time.Second {
					t.Error("an answer is lost or late")
				}
			})
		}
	}
}
