// SPDX-License-Identifier: MIT

package main

import (
	"container/heap"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// lineSettings describe a line: packets of real sockets, the kernel's TCP among them, go through a
// process that loses some, and delays the others.
type lineSettings struct {
	rate   float64       // bits a second, each way
	rtt    time.Duration // without queueing
	queue  float64       // in bandwidth-delay products
	share  float64       // lost, each way
	jitter time.Duration // evenly spread over the delay of each way, with reordering
}

// line is one way of a line: a rate, a queue in front of it, a delay behind it. It is used by one
// goroutine, apart from its meter.
type line struct {
	lineSettings
	free  time.Time // when what is queued has left
	meter *meter
}

// pass returns when a packet of size bytes that enters now comes out, false if it is lost.
func (l *line) pass(now time.Time, size int, chance float64) (time.Time, bool) {
	wait := max(l.free.Sub(now), 0)
	full := wait > time.Duration(l.queue*float64(l.rtt))
	l.meter.add(size, wait, full)
	if full {
		return time.Time{}, false
	}
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(size) * 8 / l.rate * float64(time.Second)))
	return l.free.Add(l.rtt / 2), chance >= l.share
}

// meter counts what enters a line.
type meter struct {
	mu    sync.Mutex // guards what follows
	bytes int64      // IP packets, those that the queue drops included
	waits []time.Duration
}

func (m *meter) add(size int, wait time.Duration, dropped bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.bytes += int64(size)
	if !dropped {
		m.waits = append(m.waits, wait)
	}
}

// take returns what was counted since the last call, the waits sorted.
func (m *meter) take() (bytes int64, waits []time.Duration) {
	m.mu.Lock()
	bytes, waits = m.bytes, m.waits
	m.bytes, m.waits = 0, nil
	m.mu.Unlock()
	slices.Sort(waits)
	return bytes, waits
}

// delayed is a packet on its way.
type delayed struct {
	at   time.Time
	data []byte
}

// carry relays IPv4 packets from and to a device that has every address of its network but one. It
// swaps source and destination, so that one host acts as both ends. It returns when the device is
// closed. The meter is that of the way to the server.
func carry(device io.ReadWriter, s lineSettings, toServer *meter) {
	var ways [2]chan delayed
	var writing sync.WaitGroup
	// More than a queue and a delay hold of small packets.
	room := max(4096, int(s.rate/8/100*(s.rtt.Seconds()*(1+s.queue))))
	for i := range ways {
		ways[i] = make(chan delayed, room)
		if s.jitter > 0 {
			writing.Go(func() { deliverByTime(device, ways[i]) })
		} else {
			writing.Go(func() { deliverInOrder(device, ways[i]) })
		}
	}
	lines := [2]line{{lineSettings: s, meter: toServer}, {lineSettings: s, meter: new(meter)}}
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
			if s.jitter > 0 {
				at = at.Add(rand.N(s.jitter))
			}
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

func deliverInOrder(device io.Writer, way <-chan delayed) {
	for p := range way {
		time.Sleep(time.Until(p.at))
		device.Write(p.data)
	}
}

// deliverByTime lets packets overtake others that have a longer delay.
func deliverByTime(device io.Writer, way <-chan delayed) {
	var waiting byTime
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for len(waiting) > 0 && (way == nil || time.Until(waiting[0].at) <= 0) {
			p := heap.Pop(&waiting).(delayed)
			time.Sleep(time.Until(p.at))
			device.Write(p.data)
		}
		if way == nil {
			return
		}
		if len(waiting) > 0 {
			timer.Reset(time.Until(waiting[0].at))
		}
		select {
		case p, open := <-way:
			if !open {
				way = nil
				continue
			}
			heap.Push(&waiting, p)
		case <-timer.C:
		}
	}
}

// byTime is a heap of packets, the earliest first.
type byTime []delayed

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h byTime) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(x any)        { *h = append(*h, x.(delayed)) }

func (h *byTime) Pop() any {
	last := len(*h) - 1
	p := (*h)[last]
	*h = (*h)[:last]
	return p
}

// swap exchanges the addresses of an IPv4 packet, which leaves its checksums right, and returns
// which way it goes: 0 to the server, whose port is the lower one, and 1 to the client.
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
