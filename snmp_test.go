// SPDX-License-Identifier: MIT

package kcp

import (
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// snmpTestNames is the order that programs print and parse.
var snmpTestNames = strings.Fields(`
	BytesSent BytesReceived MaxConn ActiveOpens PassiveOpens CurrEstab InErrs InCsumErrors
	KCPInErrors InPkts OutPkts
	InSegs OutSegs InBytes OutBytes RetransSegs FastRetransSegs EarlyRetransSegs LostSegs RepeatSegs
	FECFullShardSet
	FECRecovered FECErrs FECParityShards FECShardSet FECShardMin
	RingBufferSndQueue RingBufferRcvQueue
	RingBufferSndBuffer OOBPackets CopiedSegs`)

// snmpTestFilled returns an Snmp whose i-th field is base+i.
func snmpTestFilled(base uint64) *Snmp {
	s := newSnmp()
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		v.Field(i).SetUint(base + uint64(i))
	}
	return s
}

func TestSnmpHeaderNamesTheFieldsInOrder(t *testing.T) {
	if got := newSnmp().Header(); !slices.Equal(got, snmpTestNames) {
		t.Errorf("got  %v\nwant %v", got, snmpTestNames)
	}
}

func TestCountersMirrorSnmp(t *testing.T) {
	total, part := reflect.TypeFor[Snmp](), reflect.TypeFor[counters]()
	if total.NumField() != counterCount || part.NumField() != counterCount ||
		total.Size() != part.Size() {
		t.Fatalf("got %d and %d fields in %d and %d bytes, want %d of 8 bytes each",
			total.NumField(), part.NumField(), total.Size(), part.Size(), counterCount)
	}
	for i := range counterCount {
		f, g := total.Field(i), part.Field(i)
		if !strings.EqualFold(f.Name, g.Name) {
			t.Errorf("field %d: %s counts into %s", i, g.Name, f.Name)
		}
		if f.Type.Kind() != reflect.Uint64 || g.Type.Kind() != reflect.Uint64 {
			t.Errorf("field %s: got %v and %v, want uint64", f.Name, f.Type, g.Type)
		}
		if f.Offset != uintptr(i)*8 || g.Offset != f.Offset {
			t.Errorf("field %s: got offsets %d and %d, want %d", f.Name, f.Offset, g.Offset, i*8)
		}
	}
}

func TestSnmpToSliceCopyReset(t *testing.T) {
	s := snmpTestFilled(math.MaxUint64 - 100)
	values := s.ToSlice()
	if len(values) != len(snmpTestNames) {
		t.Fatalf("ToSlice: got %d values, want %d", len(values), len(snmpTestNames))
	}
	for i, got := range values {
		if want := strconv.FormatUint(math.MaxUint64-100+uint64(i), 10); got != want {
			t.Errorf("%s: got %s, want %s", snmpTestNames[i], got, want)
		}
	}
	c := s.Copy()
	if c == s || *c != *s {
		t.Errorf("Copy: got %+v, want %+v elsewhere", *c, *s)
	}
	s.Reset()
	if *s != (Snmp{}) {
		t.Errorf("Reset: got %+v, want zeros", *s)
	}
	if c.BytesSent == 0 {
		t.Error("Reset changed the copy")
	}
}

func TestCountersFlushAddsAndClears(t *testing.T) {
	s := snmpTestFilled(1000)
	var c counters
	for i := range c.words() {
		c.words()[i] = uint64(i) * 10
	}
	c.flushTo(s)
	c.flushTo(s) // nothing is left to add
	for i, got := range s.words() {
		if want := uint64(1000 + i + 10*i); got != want {
			t.Errorf("%s: got %d, want %d", snmpTestNames[i], got, want)
		}
	}
	if c != (counters{}) {
		t.Errorf("flush left %+v", c)
	}
	c.ringBufferSndQueue -= 5
	before := s.RingBufferSndQueue
	c.flushTo(s)
	if got, want := s.RingBufferSndQueue, before-5; got != want {
		t.Errorf("a level that fell by 5: got %d, want %d", got, want)
	}
}

func TestCountersFlushReachesDefaultSnmp(t *testing.T) {
	before := atomic.LoadUint64(&DefaultSnmp.OOBPackets)
	c := counters{oobPackets: 3}
	c.flush()
	// Other tests may be counting as well.
	if got := atomic.LoadUint64(&DefaultSnmp.OOBPackets); got < before+3 {
		t.Errorf("got %d, want at least %d", got, before+3)
	}
}

func TestSnmpMayBeReadWhileOthersCount(t *testing.T) {
	const goroutines, rounds = 4, 500
	s := newSnmp()
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				c := counters{inPkts: 2, oobPackets: 1}
				c.flushTo(s)
				s.connOpened(true)
				s.Copy()
				s.ToSlice()
				s.connClosed()
			}
		})
	}
	wg.Wait()
	if s.InPkts != 2*goroutines*rounds || s.OOBPackets != goroutines*rounds {
		t.Errorf("got %d and %d, want %d and %d",
			s.InPkts, s.OOBPackets, 2*goroutines*rounds, goroutines*rounds)
	}
	if s.CurrEstab != 0 || s.ActiveOpens != goroutines*rounds || s.MaxConn < 1 ||
		s.MaxConn > goroutines {
		t.Errorf("got %d open, %d opened, %d at most at once",
			s.CurrEstab, s.ActiveOpens, s.MaxConn)
	}
}

func TestSnmpCountsSessions(t *testing.T) {
	s := newSnmp()
	s.connOpened(true)
	s.connOpened(false)
	s.connOpened(false)
	s.connClosed()
	s.connClosed()
	s.connOpened(true)
	want := Snmp{ActiveOpens: 2, PassiveOpens: 2, CurrEstab: 2, MaxConn: 3}
	if *s != want {
		t.Errorf("got %+v, want %+v", *s, want)
	}
	s.Reset()
	s.connClosed() // opened before the reset
	if s.CurrEstab != 0 {
		t.Errorf("got %d sessions open, want 0", s.CurrEstab)
	}
}

func TestCountersFlushDoesNotAllocate(t *testing.T) {
	s := newSnmp()
	var c counters
	if got := testing.AllocsPerRun(1000, func() { c.inPkts++; c.flushTo(s) }); got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func BenchmarkCountersFlush(b *testing.B) {
	s := newSnmp()
	var c counters
	b.ReportAllocs()
	for b.Loop() {
		c.inPkts++
		c.inBytes += 1400
		c.inSegs++
		c.outPkts++
		c.flushTo(s)
	}
}

// pinnedCounters lists the counters that programs read by name, in an order of its own.
func pinnedCounters(s *Snmp) []*uint64 {
	return []*uint64{
		&s.BytesSent, &s.BytesReceived,
		&s.MaxConn, &s.ActiveOpens, &s.PassiveOpens, &s.CurrEstab,
		&s.InErrs, &s.InCsumErrors, &s.KCPInErrors,
		&s.InPkts, &s.OutPkts, &s.InSegs, &s.OutSegs, &s.InBytes, &s.OutBytes,
		&s.RetransSegs, &s.FastRetransSegs, &s.EarlyRetransSegs, &s.LostSegs, &s.RepeatSegs,
		&s.FECFullShardSet, &s.FECRecovered, &s.FECErrs, &s.FECParityShards, &s.FECShardSet,
		&s.FECShardMin,
		&s.RingBufferSndQueue, &s.RingBufferRcvQueue, &s.RingBufferSndBuffer,
		&s.OOBPackets, &s.CopiedSegs,
	}
}

func TestSnmpCopiesNamesAndResetsEveryCounter(t *testing.T) {
	s := new(Snmp)
	for i, counter := range pinnedCounters(s) {
		*counter = uint64(i) + 1
	}
	if header, values := s.Header(), s.ToSlice(); len(header) != len(values) {
		t.Errorf("Header has %d names, ToSlice %d values", len(header), len(values))
	}
	snapshot := s.Copy()
	s.Reset()
	for i, counter := range pinnedCounters(snapshot) {
		if want := uint64(i) + 1; *counter != want {
			t.Errorf("Copy: counter %d is %d, want %d", i, *counter, want)
		}
	}
	for i, counter := range pinnedCounters(s) {
		if *counter != 0 {
			t.Errorf("Reset left %d in counter %d", *counter, i)
		}
	}
}
