// SPDX-License-Identifier: MIT

package kcp

import (
	"encoding/binary"
	"fmt"
	"testing"
)

// BenchmarkFECEncode measures one data packet of 1400 bytes, with its share of the group's parity.
func BenchmarkFECEncode(b *testing.B) {
	for _, shape := range []fecShape{{3, 4}, {10, 13}, {20, 30}, {200, 255}} {
		b.Run(fmt.Sprintf("%d+%d", shape.data, shape.parity()), func(b *testing.B) {
			e := fecNewEncoder(b, shape)
			packet := make([]byte, 1400)
			for i := range packet {
				packet[i] = byte(i)
			}
			for range 2 * shape.data {
				e.encode(packet, 0)
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(packet)))
			for b.Loop() {
				e.encode(packet, 0)
			}
		})
	}
}

// BenchmarkFECDecode measures one packet of 1400 bytes, data or parity. With losses, that many data
// packets of every group are missing. The cost of recovering them is shared by the packets that
// arrive.
func BenchmarkFECDecode(b *testing.B) {
	for _, c := range []struct {
		shape fecShape
		lost  int
	}{
		{fecShape{10, 13}, 0}, {fecShape{10, 13}, 1}, {fecShape{10, 13}, 3},
		{fecShape{3, 4}, 0}, {fecShape{3, 4}, 1}, {fecShape{200, 255}, 0}, {fecShape{200, 255}, 20},
	} {
		name := fmt.Sprintf("%d+%d/NoLoss", c.shape.data, c.shape.parity())
		if c.lost > 0 {
			name = fmt.Sprintf("%d+%d/%dLost", c.shape.data, c.shape.parity(), c.lost)
		}
		b.Run(name, func(b *testing.B) {
			d := fecNewDecoder(b, c.shape)
			packets := fecBenchGroup(b, c.shape)
			seqid := uint32(0)
			recovered, lost := 0, 0
			next := func() {
				index := int(seqid % uint32(c.shape.total))
				if index < lost {
					seqid += uint32(lost)
					index = lost
				}
				binary.LittleEndian.PutUint32(packets[index], seqid)
				recovered += len(d.input(packets[index]))
				seqid++
			}
			for range 2*c.shape.total + 1 { // the groups are proven
				next()
			}
			seqid += uint32(c.shape.total) - 1
			lost = c.lost
			for range 4 * c.shape.total {
				next()
			}
			recovered = 0
			n := 0
			b.ReportAllocs()
			b.SetBytes(1400)
			for b.Loop() {
				next()
				n++
			}
			if n > 2*c.shape.total && (recovered > 0) != (c.lost > 0) {
				b.Fatalf("recovered %d packets", recovered)
			}
		})
	}
}

func fecBenchGroup(b *testing.B, shape fecShape) (packets [][]byte) {
	e := fecNewEncoder(b, shape)
	e.lastMillis = 0
	for i := range shape.data {
		payload := make([]byte, 1400-fecHeaderSize)
		for j := range payload {
			payload[j] = byte(i * j)
		}
		packets = append(packets, fecSend(e, payload, 0)...)
	}
	return packets
}
