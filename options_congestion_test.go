// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// ofNC are the controllers that the fourth value of SetNoDelay selects.
var ofNC = [2]CongestionControl{CongestionRate, CongestionRateAggressive}

func TestConfigChoosesTheController(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want CongestionControl
	}{
		{Config{}, ofNC[0]},
		{Config{NoCongestionControl: true}, ofNC[1]},
		{Config{Bandwidth: 1e6}, ofNC[0]},
		{Config{CongestionControl: CongestionRate}, CongestionRate},
		{Config{CongestionControl: CongestionRateAggressive}, CongestionRateAggressive},
		{Config{CongestionControl: CongestionCubic}, CongestionCubic},
		{Config{CongestionControl: CongestionClassic}, CongestionClassic},
		{Config{CongestionControl: CongestionFixed, Bandwidth: 1000}, CongestionFixed},
		{Config{CongestionControl: CongestionFixed, Bandwidth: 4e9}, CongestionFixed},
		{Config{CongestionControl: CongestionOff}, CongestionOff},
		// The name counts, whatever the other field is.
		{Config{CongestionControl: CongestionClassic, NoCongestionControl: true},
			CongestionClassic},
		{Config{CongestionControl: CongestionRate, NoCongestionControl: true}, CongestionRate},
	} {
		inSession(t, tt.c, func(t *testing.T, client, server *UDPSession) {
			for _, s := range []*UDPSession{client, server} {
				if got := s.Stats().CongestionControl; got != tt.want {
					t.Errorf("%+v: the controller is %q, want %q", tt.c, got, tt.want)
				}
			}
		})
	}
}

func TestNamesOfControllersThatAreUnknown(t *testing.T) {
	names := []string{"rate", "rate-aggressive", "cubic", "classic", "fixed", "off"}
	check := func(err error, field string) {
		t.Helper()
		if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want an error that names %s and matches os.ErrInvalid", err, field)
			return
		}
		for _, name := range names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%q does not list %q", err, name)
			}
		}
	}
	for _, name := range []CongestionControl{"bbr", "Rate", "rate ", "none", "\x00"} {
		c := Config{CongestionControl: name}
		_, err := c.options()
		check(err, "Config.CongestionControl")
		inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
			check(client.SetCongestionControl(name), "CongestionControl")
			if got := client.Stats().CongestionControl; got != ofNC[0] {
				t.Errorf("after an error the controller is %q, want %q", got, ofNC[0])
			}
		})
	}
}

// A controller that a program has named stays, whatever nc an older part of it sets.
func TestSetNoDelayAfterANamedController(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		want := func(cc CongestionControl) {
			t.Helper()
			if got := client.Stats().CongestionControl; got != cc {
				t.Errorf("the controller is %q, want %q", got, cc)
			}
		}
		name := func(cc CongestionControl) {
			t.Helper()
			if err := client.SetCongestionControl(cc); err != nil {
				t.Error(err)
			}
		}
		want(ofNC[0])
		client.SetNoDelay(1, 10, 2, 1)
		want(ofNC[1])
		client.SetNoDelay(1, 10, 2, -1)
		want(ofNC[1])
		client.SetNoDelay(1, 10, 2, 0)
		want(ofNC[0])
		name(CongestionCubic)
		for _, nc := range []int{0, 1, 2, -1} {
			client.SetNoDelay(1, 10, 2, nc)
			want(CongestionCubic)
		}
		t.Log(`# "" lets nc choose again`)
		name("")
		want(CongestionRate)
		client.SetNoDelay(-1, -1, -1, 1)
		want(ofNC[1])
	})
	c := Config{CongestionControl: CongestionRate}
	inSession(t, c, func(t *testing.T, client, server *UDPSession) {
		client.SetNoDelay(1, 10, 2, 1)
		if got := client.Stats().CongestionControl; got != CongestionRate {
			t.Errorf("the controller of the Config is %q after SetNoDelay", got)
		}
	})
}

func TestFixedControllerNeedsABandwidth(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		err := client.SetCongestionControl(CongestionFixed)
		if !errors.Is(err, os.ErrInvalid) || !strings.Contains(err.Error(), "Bandwidth") {
			t.Errorf("got %v, want an error about the bandwidth", err)
		}
		if got := client.Stats().CongestionControl; got != ofNC[0] {
			t.Errorf("after an error the controller is %q, want %q", got, ofNC[0])
		}
		for _, b := range []int64{0, -1, 999, 4e9 + 1, math.MaxInt64, math.MinInt64} {
			if err := client.SetBandwidth(b); !errors.Is(err, os.ErrInvalid) {
				t.Errorf("SetBandwidth(%d) returns %v, want an error", b, err)
			}
		}
		if err := client.SetBandwidth(1e6); err != nil {
			t.Error(err)
		}
		if got := client.Stats().CongestionControl; got != ofNC[0] {
			t.Errorf("SetBandwidth changed the controller to %q", got)
		}
		if err := client.SetCongestionControl(CongestionFixed); err != nil {
			t.Error(err)
		}
	})
	t.Log("# a Config gives it for later")
	inSession(t, Config{Bandwidth: 1e6}, func(t *testing.T, client, server *UDPSession) {
		client.SetNoDelay(1, 10, 2, 1)
		for _, s := range []*UDPSession{client, server} {
			if err := s.SetCongestionControl(CongestionFixed); err != nil {
				t.Error(err)
			}
		}
	})
}

// The controller changes again and again while data is on its way, and from several goroutines.
func TestControllersChangeUnderTraffic(t *testing.T) {
	p := simProfile{Delay: 5 * time.Millisecond, Loss: 0.02, Rate: 50e6 / 8, Queue: 100_000}
	c := Config{StreamMode: true, NoDelay: true, FastResend: 2, Bandwidth: 5e6}
	pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
		var work sync.WaitGroup
		done := make(chan struct{})
		defer work.Wait()
		defer close(done)
		for i := range 3 {
			work.Go(func() {
				for j := i; ; j++ {
					select {
					case <-done:
						return
					case <-time.After(time.Duration(7+i) * time.Millisecond):
					}
					cc := congestionNames[j%len(congestionNames)]
					if err := n.client.SetCongestionControl(cc); err != nil {
						t.Error(err)
					}
					_ = n.client.Stats()
				}
			})
		}
		n.move(t, pattern(2<<20, 5))
	})
}

func TestSetCongestionControlOnASessionThatHasEnded(t *testing.T) {
	inSession(t, Config{Bandwidth: 1e6}, func(t *testing.T, client, server *UDPSession) {
		client.SetLinger(0)
		_ = client.Close()
		before := client.Stats()
		for _, cc := range congestionNames {
			if err := client.SetCongestionControl(cc); err != nil {
				t.Errorf("%s: %v", cc, err)
			}
		}
		if err := client.SetCongestionControl("bbr"); !errors.Is(err, os.ErrInvalid) {
			t.Errorf("an unknown name gives %v", err)
		}
		time.Sleep(time.Minute)
		if after := client.Stats(); after.PacketsSent > before.PacketsSent+10 {
			t.Errorf("%d packets were sent afterwards", after.PacketsSent-before.PacketsSent)
		}
	})
}

// What CongestionOff lets out at once, CongestionClassic does not, and the other way round: the
// change counts for data that is queued already.
func TestSetCongestionControlSendsWhatWaited(t *testing.T) {
	p := simProfile{Delay: 50 * time.Millisecond}
	c := Config{StreamMode: true, CongestionControl: CongestionClassic}
	pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
		data := pattern(60*1376, 3)
		mustWrite(t, n.client, data)
		waiting := n.client.Stats().SendQueue
		if waiting < 50 {
			t.Fatalf("%d segments wait behind the classic window, want most of 60", waiting)
		}
		if err := n.client.SetCongestionControl(CongestionOff); err != nil {
			t.Fatal(err)
		}
		if st := n.client.Stats(); st.SendQueue != 0 || st.CongestionWindow != 0 {
			t.Errorf("without a controller %d segments wait, with a window of %d",
				st.SendQueue, st.CongestionWindow)
		}
		got := make([]byte, len(data))
		if _, err := io.ReadFull(n.server, got); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("the bytes differ, or %v", err)
		}
	})
}

// inBytes is a controller whose window is in bytes, and which paces.
type inBytes struct {
	scripted
	bytes, rate int64
}

func (c *inBytes) window() (int64, uint32) { return c.bytes, unlimitedSegments }
func (c *inBytes) pace() (int64, int64)    { return c.rate, 1 << 14 }
func (c *inBytes) report(r *controlReport) {
	*r = controlReport{state: "cruise", bandwidth: 2e6, loss: 0.05}
}

// Stats gives a window in full segments, whatever the controller counts.
func TestStatsOfAController(t *testing.T) {
	inSession(t, Config{MTU: 1024}, func(t *testing.T, client, server *UDPSession) {
		full := int64(1024) // of KCP, without a cipher and FEC
		for _, tt := range []struct {
			bytes int64
			want  int
		}{{1, 1}, {full, 1}, {full + 1, 2}, {1000 * full, 1000}, {unlimited, 0}} {
			client.mu.Lock()
			client.core.flow = newFlow(&inBytes{bytes: tt.bytes, rate: 3e6}, 0, 1024)
			client.mu.Unlock()
			st := client.Stats()
			if st.CongestionWindow != tt.want {
				t.Errorf("a window of %d bytes is %d segments, want %d",
					tt.bytes, st.CongestionWindow, tt.want)
			}
			if st.Bandwidth != 2e6 || st.PacingRate != 3e6 || st.RandomLoss != 0.05 ||
				st.CongestionState != "cruise" {
				t.Errorf("got %+v", st)
			}
		}
	})
}

// On a path whose round trip is too short to be paced, Stats reports neither a window of bytes nor
// a rate: they do not count.
func TestStatsOfAShortPath(t *testing.T) {
	inSession(t, Config{}, func(t *testing.T, client, server *UDPSession) {
		for _, tt := range []struct {
			cc           controller
			minRTT       instant
			window, rate bool
		}{
			{&inBytes{bytes: 1 << 20, rate: 3e6}, flowUnpaced, true, true},
			{&inBytes{bytes: 1 << 20, rate: 3e6}, flowUnpaced - 1, false, false},
			{newCongestion(), flowUnpaced - 1, true, false},
		} {
			client.mu.Lock()
			client.core.flow = newFlow(tt.cc, 0, 1400)
			client.core.flow.minRTT = tt.minRTT
			client.mu.Unlock()
			st := client.Stats()
			if st.CongestionWindow > 0 != tt.window || st.PacingRate > 0 != tt.rate {
				t.Errorf("at %v %T has a window of %d and a rate of %d",
					time.Duration(tt.minRTT), tt.cc, st.CongestionWindow, st.PacingRate)
			}
		}
	})
}

// The fixed controller sends at the rate that it is given, from the moment on that it is given.
func TestFixedControllerSendsAtItsBandwidth(t *testing.T) {
	p := simProfile{Delay: 20 * time.Millisecond}
	c := Config{StreamMode: true, NoDelay: true, SendWindow: 1024, ReceiveWindow: 1024,
		CongestionControl: CongestionFixed, Bandwidth: 1e6}
	pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
		go func() { _, _ = n.client.Write(make([]byte, 50e6)) }()
		go func() { _, _ = io.Copy(io.Discard, n.server) }()
		for _, rate := range []float64{1e6, 2e6, 5e5} {
			if err := n.client.SetBandwidth(int64(rate)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Second)
			before := n.server.Stats().WireBytesReceived
			time.Sleep(4 * time.Second)
			got := float64(n.server.Stats().WireBytesReceived-before) / 4
			if got < 0.93*rate || got > 1.03*rate {
				t.Errorf("%.0f bytes a second, want %.0f", got, rate)
			}
			if st := n.client.Stats(); st.Bandwidth != int64(rate) {
				t.Errorf("a bandwidth of %d, want %.0f", st.Bandwidth, rate)
			}
		}
		n.client.SetLinger(0)
		_ = n.client.Close()
	})
}

// Every controller delivers, and what SetCongestionControl names is what works.
func TestEveryControllerDelivers(t *testing.T) {
	p := simProfile{Delay: 20 * time.Millisecond, Rate: 20e6 / 8, Queue: 100_000}
	for _, cc := range congestionNames {
		c := Config{StreamMode: true, NoDelay: true, Bandwidth: 2e6,
			SendWindow: 1024, ReceiveWindow: 1024}
		pairRun(t, 1, p, c, func(t *testing.T, n *connPair) {
			if err := n.client.SetCongestionControl(cc); err != nil {
				t.Fatal(err)
			}
			took := n.move(t, pattern(5e6, 2))
			st := n.client.Stats()
			t.Logf("%s: %.1f Mbit/s, %.2f bytes on the wire for each", cc, 40/took.Seconds(),
				float64(st.WireBytesSent)/5e6)
			if took > 4*time.Second {
				t.Errorf("%s: 5 MB over 20 Mbit/s took %v, want 4s at most", cc, took)
			}
			if st.CongestionControl != cc {
				t.Errorf("the controller is %q, want %q", st.CongestionControl, cc)
			}
		})
	}
}
