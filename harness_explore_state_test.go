// SPDX-License-Identifier: MIT

package kcp

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"reflect"
	"slices"
)

// The state of an exploration is encoded in a canonical form: points in time are relative to now,
// and what cannot change the course of events is left out. A field that the tables below do not
// name is encoded as it is, so that a new one makes states differ at worst.

// exploreTimes are the fields that hold a point in time.
var exploreTimes = map[string]bool{
	"heardAt": true, "expectedAt": true, "askedAt": true, "graceUntil": true, "at": true,
	"helloSentAt": true, "ackAt": true, "repeatAt": true, "newestAt": true, "flushAt": true,
	"probeAt": true, "sentAt": true, "lingerAt": true, "finWaitAt": true, "deliveredAt": true,
	"firstSentAt": true, "release": true, "longSince": true, "until": true, "queuedAt": true,
	"born": true, "deadline": true, "skipAt": true, "last": true, "newestTS": true, "wndTS": true,
	"firstTS": true, "copyTS": true, "ts": true,
}

// exploreOmitted are the fields that only count or remember what happened, or that are encoded
// elsewhere.
var exploreOmitted = map[string]bool{
	"stats": true, "latest": true, "logs": true, "logMask": true, "ring": true, "in": true,
	"fill": true, "held": true, "slab": true, "memory": true, "counts": true, "block": true,
	"scratch": true, "timer": true, "calls": true, "env": true, "sealer": true, "counted": true,
	"copied": true,
}

// stateWriter encodes a state.
type stateWriter struct {
	buf  []byte
	now  instant
	seen []uintptr // the pointers that the value at hand is reached by
}

// exploreSeed makes hashes of one run of the tests comparable.
var exploreSeed = maphash.MakeSeed()

func (w *stateWriter) sum() uint64 { return maphash.Bytes(exploreSeed, w.buf) }

func (w *stateWriter) uint(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }

func (w *stateWriter) int(v int64) { w.buf = binary.AppendVarint(w.buf, v) }

func (w *stateWriter) text(s string) {
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

// time encodes a point in time. unit is a millisecond or a nanosecond.
func (w *stateWriter) time(v, unit int64) {
	switch {
	case v == int64(never), v <= 0:
		w.buf = append(w.buf, 1)
		w.int(v)
	default:
		w.buf = append(w.buf, 2)
		w.int(v - int64(w.now)/unit)
	}
}

var (
	millisType    = reflect.TypeFor[millis]()
	instantType   = reflect.TypeFor[instant]()
	timestampType = reflect.TypeFor[timestamp]()
	errorType     = reflect.TypeFor[error]()
)

// field encodes a field of a structure.
func (w *stateWriter) field(name string, v reflect.Value) {
	if exploreOmitted[name] {
		return
	}
	if exploreTimes[name] {
		switch v.Type() {
		case millisType:
			w.time(v.Int(), int64(millisecond))
			return
		case instantType:
			w.time(v.Int(), 1)
			return
		case timestampType:
			w.uint(uint64(uint32(v.Uint()) - uint32(w.now.ms())))
			return
		}
	}
	w.value(v)
}

// value encodes a value and what it points to.
func (w *stateWriter) value(v reflect.Value) {
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			w.buf = append(w.buf, 1)
		} else {
			w.buf = append(w.buf, 0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		w.int(v.Int())
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		w.uint(v.Uint())
	case reflect.Float32, reflect.Float64:
		w.text(v.Type().Name())
		w.buf = binary.AppendVarint(w.buf, int64(v.Float()*(1<<20)))
	case reflect.String:
		w.text(v.String())
	case reflect.Slice:
		w.uint(uint64(v.Len()))
		w.elements(v)
	case reflect.Array:
		w.elements(v)
	case reflect.Struct:
		for i, name := range fieldsOf(v.Type()) {
			w.field(name, v.Field(i))
		}
	case reflect.Pointer, reflect.Interface:
		w.reference(v)
	}
}

func (w *stateWriter) elements(v reflect.Value) {
	if v.Type().Elem().Kind() == reflect.Uint8 && v.Kind() == reflect.Slice {
		w.buf = append(w.buf, v.Bytes()...)
		return
	}
	for i := range v.Len() {
		w.value(v.Index(i))
	}
}

// reference encodes what a pointer or an interface refers to.
func (w *stateWriter) reference(v reflect.Value) {
	if v.IsNil() {
		w.buf = append(w.buf, 0)
		return
	}
	w.buf = append(w.buf, 1)
	switch {
	case v.Kind() == reflect.Interface && v.Type() == errorType:
		w.text(v.Elem().Type().String())
		if v.Elem().Kind() == reflect.Pointer {
			w.uint(uint64(v.Elem().Pointer()))
		}
		return
	case v.Kind() == reflect.Interface:
		w.text(v.Elem().Type().String())
		w.value(v.Elem())
		return
	case v.Elem().Kind() != reflect.Struct, slices.Contains(w.seen, v.Pointer()):
		return
	}
	w.seen = append(w.seen, v.Pointer())
	w.value(v.Elem())
	w.seen = w.seen[:len(w.seen)-1]
}

// exploreFields are the names of the fields of each structure.
var exploreFields = map[reflect.Type][]string{}

func fieldsOf(t reflect.Type) []string {
	names, ok := exploreFields[t]
	if !ok {
		for i := range t.NumField() {
			names = append(names, t.Field(i).Name)
		}
		exploreFields[t] = names
	}
	return names
}

// session encodes a session.
func (w *stateWriter) session(s *UDPSession) {
	c := &s.core
	w.uint(uint64(s.conv))
	w.value(reflect.ValueOf(c.stats.segsIn > 0))
	w.value(reflect.ValueOf(c).Elem())
	if w.value(reflect.ValueOf(c.ring != nil)); c.ring != nil {
		for sn := c.sendUna; sn != c.sendEnd; sn++ {
			seg := *c.ring.at(sn)
			w.value(reflect.ValueOf(c.ring.isOutstanding(sn)))
			w.uint(uint64(len(seg.data)))
			seg.data = nil
			if !sn.before(c.sendNxt) || !c.ring.isOutstanding(sn) { // not in a list
				seg = sendSegment{frg: seg.frg, term: seg.term}
			}
			w.value(reflect.ValueOf(&seg).Elem())
		}
		w.value(reflect.ValueOf(&c.ring.timed).Elem())
	}
	if w.value(reflect.ValueOf(c.in != nil)); c.in != nil {
		for sn, left := c.readNxt, c.readable()+c.outOfOrder; left > 0; sn++ {
			here := c.in.present.has(c.in.slot(sn))
			if w.value(reflect.ValueOf(here)); here {
				w.uint(uint64(len(c.in.at(sn).data)))
				left--
			}
		}
	}
	w.value(reflect.ValueOf(&s.life).Elem())
	w.value(reflect.ValueOf(&s.turns).Elem())
	w.uint(uint64(s.msgLeft))
	w.uint(uint64(len(s.partial.data) - int(s.partialOff)))
	w.uint(uint64(s.busy))
	w.value(reflect.ValueOf(s.pending))
	w.uint(uint64(s.unread.memory()))
}

// demux encodes a socket with its sessions, the records of ended ones, and its timers.
func (w *stateWriter) demux(d *demux) {
	var all []*UDPSession
	for s := range d.sessions.all {
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b *UDPSession) int { return cmp.Compare(a.conv, b.conv) })
	for _, s := range all {
		w.session(s)
	}
	w.value(reflect.ValueOf(d.stopping.Load()))
	w.int(d.pending.Load())
	w.int(int64(d.leaving))
	w.int(int64(d.farewells))
	if b := d.backlog; b != nil {
		w.uint(uint64(b.waiting.Len()))
	}
	var records []sessionKey
	for key, r := range d.waits.records {
		if w.now.ms() < r.until {
			records = append(records, key)
		}
	}
	slices.SortFunc(records, func(a, b sessionKey) int { return cmp.Compare(a.conv, b.conv) })
	for _, key := range records {
		w.uint(uint64(key.conv))
		w.value(reflect.ValueOf(d.waits.records[key]).Elem())
	}
	for i := range d.admission.vouched {
		w.uint(uint64(len(d.admission.vouched[i])))
	}
}

// timers encodes what a scheduler has to run. Sessions are encoded elsewhere.
func (w *stateWriter) timers(h timerHeap) {
	var items []string
	for _, item := range h {
		one := stateWriter{now: w.now}
		one.text(reflect.TypeOf(item.entry.task).String())
		one.time(int64(item.entry.putOffTo(item.when)), 1)
		switch task := item.entry.task.(type) {
		case *UDPSession:
			one.uint(uint64(task.conv))
		case *farewell:
			one.value(reflect.ValueOf(task).Elem())
		}
		items = append(items, string(one.buf))
	}
	slices.Sort(items)
	for _, item := range items {
		w.text(item)
	}
}

// datagram encodes a datagram without a cipher and without FEC: the clocks in it are relative.
func (w *stateWriter) datagram(data []byte) {
	var s segment
	for len(data) > 0 {
		rest, status := parseSegment(data, &s)
		if status != parseOK {
			w.text(string(data))
			return
		}
		header := [segmentHeaderSize]byte(data)
		if !isControl(&s) {
			binary.LittleEndian.PutUint32(header[8:], uint32(s.ts)-uint32(w.now.ms()))
		}
		w.buf = append(w.buf, header[:]...)
		w.text(string(s.data))
		data = rest
	}
	w.buf = append(w.buf, 0xff)
}
