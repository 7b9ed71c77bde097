// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"io"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// A plainWriter writes datagrams without protection as a capture of IP packets, each in a packet of
// its own.
type plainWriter struct {
	w   *pcapgo.Writer
	buf []byte
}

func newPlainWriter(w io.Writer) (*plainWriter, error) {
	p := &plainWriter{w: pcapgo.NewWriterNanos(w)}
	return p, p.w.WriteFileHeader(frameMost, layers.LinkTypeRaw)
}

// write writes one datagram. The checksums of its headers are 0.
func (p *plainWriter) write(at time.Time, from, to netip.AddrPort, payload []byte) error {
	const udpHeader, payloadMost = 8, 65000
	payload = payload[:min(len(payload), payloadMost)]
	b, be := p.buf[:0], binary.BigEndian
	if from.Addr().Is4() {
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(20+udpHeader+len(payload)))
		b = append(b, 0, 0, 0, 0, 64, protoUDP, 0, 0)
	} else {
		b = append(b, 0x60, 0, 0, 0)
		b = be.AppendUint16(b, uint16(udpHeader+len(payload)))
		b = append(b, protoUDP, 64)
	}
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	b = be.AppendUint16(be.AppendUint16(b, from.Port()), to.Port())
	b = be.AppendUint16(be.AppendUint16(b, uint16(udpHeader+len(payload))), 0)
	p.buf = append(b, payload...)
	info := gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(p.buf), Length: len(p.buf)}
	return p.w.WritePacket(info, p.buf)
}
