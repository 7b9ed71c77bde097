// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

// The lossy lines: packets of real sockets, the kernel's TCP among them, go
// through a process that loses some, and delays the others.
const (
	lossyRTT  = 100 * time.Millisecond
	lossyRate = 20e6 / 8 // bytes a second, each way; the queue holds an RTT of it
)

var lossyShares = []float64{0, 0.01, 0.05}

// lossyContenders are in the order of the table.
var lossyContenders = []struct {
	name string
	open func(p path) (*streams, error)
}{
	{"TCP cubic", openTCPWith("cubic")},
	{"TCP bbr", openTCPWith("bbr")},
	{"quic-go", openQUIC},
	{"kcp, defaults", openKCPWith(kcp.Config{})},
	{"kcp, no-delay", openKCPWith(lossyNoDelay)},
	{"kcp, no-delay, FEC 10/3", openKCPWith(lossyFEC(10, 3))},
	{"kcp, no-delay, FEC 1/1", openKCPWith(lossyFEC(1, 1))},
}

// lossyNoDelay has windows of several bandwidth-delay products, as docs/tuning.md has it for lines
// that lose.
var lossyNoDelay = kcp.Config{NoDelay: true, FastResend: 2, NoCongestionControl: true, SendWindow: 1024, ReceiveWindow: 1024}

func lossyFEC(data, parity int) kcp.Config {
	c := lossyNoDelay
	c.DataShards, c.ParityShards = data, parity
	return c
}

// openTCPWith is openTCP with a congestion control that the system has, or may
// not have.
func openTCPWith(congestionControl string) func(path) (*streams, error) {
	return func(p path) (*streams, error) {
		s, err := openTCP(p)
		if err != nil {
			return nil, err
		}
		for _, end := range []io.ReadWriter{s.client, s.server} {
			if err := setCongestionControl(end.(*net.TCPConn), congestionControl); err != nil {
				s.close()
				return nil, err
			}
		}
		return s, nil
	}
}

func openKCPWith(c kcp.Config) func(path) (*streams, error) {
	c.StreamMode = true
	return func(p path) (*streams, error) { return openKCP(&c, p) }
}

// lossyFigures are what one contender did on one line.
type lossyFigures struct {
	p50, p99 time.Duration
	goodput  float64 // Mbit/s
	err      error
}

// line is one way of a lossy line: a rate, a queue in front of it, a delay
// behind it. It is used by one goroutine.
type line struct {
	share float64   // lost
	free  time.Time // when what is queued has left
}

// pass returns when a packet of size bytes that enters now comes out, false if it is lost.
func (l *line) pass(now time.Time, size int, chance float64) (time.Time, bool) {
	if chance < l.share || l.free.Sub(now) > lossyRTT {
		return time.Time{}, false
	}
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(size) / lossyRate * float64(time.Second)))
	return l.free.Add(lossyRTT / 2), true
}

// delayed is a packet on its way.
type delayed struct {
	at   time.Time
	data []byte
}

// carry relays IPv4 packets from and to a device that has every address of its network but one. It
// swaps source and destination, so that one host acts as both ends. It returns when the device is
// closed.
func carry(device io.ReadWriter, share float64) {
	var ways [2]chan delayed
	var writing sync.WaitGroup
	for i := range ways {
		ways[i] = make(chan delayed, 4096) // more than a queue and a delay hold of small packets
		writing.Go(func() {
			for p := range ways[i] {
				time.Sleep(time.Until(p.at))
				device.Write(p.data)
			}
		})
	}
	lines := [2]line{{share: share}, {share: share}}
	buf := make([]byte, 1<<16)
	for {
		n, err := device.Read(buf)
		if err != nil {
			break
		}
		if n < 24 || buf[0]>>4 != 4 {
			continue // the kernel's own IPv6 packets
		}
		packet := slices.Clone(buf[:n])
		way := swap(packet)
		if at, passes := lines[way].pass(time.Now(), n, rand.Float64()); passes {
			select {
			case ways[way] <- delayed{at, packet}:
			default: // a flood of tiny packets
			}
		}
	}
	for _, w := range ways {
		close(w)
	}
	writing.Wait()
}

// swap exchanges the addresses of an IPv4 packet, which leaves its checksums
// right, and returns which way it goes: the two ends differ by their ports.
func swap(packet []byte) (way int) {
	var source [4]byte
	copy(source[:], packet[12:16])
	copy(packet[12:16], packet[16:20])
	copy(packet[16:20], source[:])
	ports := packet[int(packet[0]&15)*4:]
	if len(ports) >= 4 && binary.BigEndian.Uint16(ports) < binary.BigEndian.Uint16(ports[2:]) {
		return 1
	}
	return 0
}

const (
	lossyMessage = 100 // bytes
	lossyTick    = 33 * time.Millisecond
	lossyWarmUp  = 6                // the part of the time whose messages do not count, one in so many
	lossyGrace   = 20 * time.Second // for what is late
)

// latency sends a message each tick for a time, and returns how long each took
// until it was read in order.
func latency(s *streams, length time.Duration) (p50, p99 time.Duration, err error) {
	start := time.Now()
	count := int(length / lossyTick)
	took := make([]time.Duration, 0, count)
	read := make(chan error, 1)
	go func() {
		buf := make([]byte, lossyMessage)
		for len(took) < count {
			if _, err := io.ReadFull(s.server, buf); err != nil {
				read <- err
				return
			}
			sent := time.Duration(binary.LittleEndian.Uint64(buf))
			took = append(took, time.Since(start)-sent)
		}
		read <- nil
	}()
	write := func() error {
		message := make([]byte, lossyMessage)
		ticker := time.NewTicker(lossyTick)
		defer ticker.Stop()
		for range count {
			due := <-ticker.C
			binary.LittleEndian.PutUint64(message, uint64(due.Sub(start)))
			if _, err := s.client.Write(message); err != nil {
				return err
			}
		}
		return nil
	}
	wrote := make(chan error, 1)
	go func() { wrote <- write() }()
	limit := time.NewTimer(length + lossyGrace)
	defer limit.Stop()
	for range 2 {
		select {
		case err = <-read:
		case err = <-wrote:
		case <-limit.C:
			err = errors.New("messages came too late")
		}
		if err != nil {
			s.close()
			return 0, 0, err
		}
	}
	took = took[count/lossyWarmUp:]
	slices.Sort(took)
	return percentile(took, 0.5), percentile(took, 0.99), nil
}

// goodput sends at full speed for a time and returns what arrived, in Mbit/s.
func goodput(s *streams, length time.Duration) float64 {
	var received atomic.Int64
	go func() {
		buf := make([]byte, bulkChunk)
		for {
			n, err := s.server.Read(buf)
			received.Add(int64(n))
			if err != nil {
				return
			}
		}
	}()
	go func() {
		buf := make([]byte, bulkChunk)
		for {
			if _, err := s.client.Write(buf); err != nil {
				return
			}
		}
	}()
	time.Sleep(length)
	return float64(received.Load()) * 8 / 1e6 / length.Seconds()
}

// measureLossy measures all contenders at all shares: latency of all at once,
// since it needs little, and then goodput of those at one share at a time.
func measureLossy(ctx context.Context, length time.Duration, log io.Writer) ([][]lossyFigures, error) {
	lines := make([][]path, len(lossyShares))
	figures := make([][]lossyFigures, len(lossyShares))
	for i, share := range lossyShares {
		figures[i] = make([]lossyFigures, len(lossyContenders))
		for range lossyContenders {
			p, err := openLine(ctx, share)
			if err != nil {
				return nil, err
			}
			lines[i] = append(lines[i], p)
		}
	}
	each := func(i int, measure func(s *streams, f *lossyFigures)) *sync.WaitGroup {
		var measuring sync.WaitGroup
		for j, c := range lossyContenders {
			measuring.Go(func() {
				f := &figures[i][j]
				s, err := c.open(lines[i][j])
				if err != nil {
					f.err = errors.Join(f.err, err)
					return
				}
				defer s.close()
				measure(s, f)
			})
		}
		return &measuring
	}
	fmt.Fprintf(log, "latency, %v\n", length)
	var measuring []*sync.WaitGroup
	for i := range lossyShares {
		measuring = append(measuring, each(i, func(s *streams, f *lossyFigures) {
			var err error
			f.p50, f.p99, err = latency(s, length)
			f.err = errors.Join(f.err, err)
		}))
	}
	for _, m := range measuring {
		m.Wait()
	}
	for i, share := range lossyShares {
		fmt.Fprintf(log, "goodput at %g %%, %v\n", share*100, length/2)
		each(i, func(s *streams, f *lossyFigures) { f.goodput = goodput(s, length/2) }).Wait()
	}
	return figures, ctx.Err()
}

// lossyTable is the figures as markdown, the least latencies and the highest
// goodput of each share in bold.
func lossyTable(figures [][]lossyFigures, length time.Duration) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, share := range lossyShares {
		fmt.Fprintf(&b, " %g %% loss: p50 / p99 ms | Mbit/s |", share*100)
	}
	b.WriteString("\n|---|" + strings.Repeat("--:|--:|", len(lossyShares)) + "\n")
	for j, c := range lossyContenders {
		b.WriteString("| " + c.name + " |")
		for i := range lossyShares {
			f := figures[i][j]
			if f.p50 == 0 {
				b.WriteString(" – |")
			} else {
				fmt.Fprintf(&b, " %d / %d |", f.p50.Milliseconds(), f.p99.Milliseconds())
			}
			fmt.Fprintf(&b, " %.1f |", f.goodput)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\n%s; a line of %g Mbit/s each way and %v round trip, made of a TUN device; a message of %d bytes each %v for %v, of which the first sixth does not count; one bulk stream for %v from its start.\n",
		findMachine(), lossyRate*8/1e6, lossyRTT, lossyMessage, lossyTick, length, length/2)
	return b.String()
}

// runLossy measures and prints the table, and puts it into the document.
func runLossy(s *settings, out, log io.Writer, stop <-chan os.Signal) error {
	if inside, err := enterNetwork(out, log); !inside {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		select {
		case <-stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	length := 60 * s.time
	figures, err := measureLossy(ctx, length, log)
	if err != nil {
		return err
	}
	for i, row := range figures {
		for j, f := range row {
			if f.err != nil {
				fmt.Fprintf(log, "%s at %g %%: %v\n", lossyContenders[j].name, lossyShares[i]*100, f.err)
			}
		}
	}
	table := lossyTable(figures, length)
	if s.document != "" {
		if err := replaceInDocument(s.document, "lossy", table); err != nil {
			return err
		}
	}
	_, err = io.WriteString(out, table)
	return err
}
