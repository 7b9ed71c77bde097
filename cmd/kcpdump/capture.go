// SPDX-License-Identifier: MIT

package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Bounds for a capture that was made to harm.
const (
	frameMost      = 256 << 10 // bytes of a frame, as libpcap's greatest snap length
	metadataMost   = 16 << 20  // bytes of a file that are no frames, such as names and secrets
	interfacesMost = 4096
	blockOverhead  = 128 // bytes around a frame that count as the frame's
)

// errMetadata is returned for a file with too much in it that is no frame.
var errMetadata = errors.New("more than 16 MiB of the capture are no packets")

// A frame is one captured packet with its link layer. data is valid until the next one is read.
type frame struct {
	info gopacket.CaptureInfo
	link layers.LinkType
	data []byte
}

// allowance is a reader that fails once more has been read than is left.
type allowance struct {
	r    io.Reader
	left int64
}

func (a *allowance) Read(p []byte) (int, error) {
	if a.left <= 0 {
		return 0, errMetadata
	}
	n, err := a.r.Read(p)
	a.left -= int64(n)
	return n, err
}

// A capture reads frames from a pcap or pcapng file, gzipped or not.
type capture struct {
	input *allowance
	pcap  *pcapgo.Reader   // nil for pcapng
	ng    *pcapgo.NgReader // nil for pcap
}

const (
	magicGzip = 0x8b1f
	magicNG   = 0x0a0d0d0a
)

// openCapture reads the header of a capture.
func openCapture(r io.Reader) (*capture, error) {
	b := bufio.NewReader(r)
	if head, err := b.Peek(2); err == nil && binary.LittleEndian.Uint16(head) == magicGzip {
		z, err := gzip.NewReader(b)
		if err != nil {
			return nil, err
		}
		b = bufio.NewReader(z)
	}
	head, err := b.Peek(4)
	if err != nil {
		if len(head) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	c := &capture{input: &allowance{r: b, left: metadataMost}}
	if binary.LittleEndian.Uint32(head) == magicNG {
		options := pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true}
		c.ng, err = pcapgo.NewNgReader(c.input, options)
	} else {
		c.pcap, err = pcapgo.NewReader(c.input)
	}
	if err != nil {
		return nil, fmt.Errorf("not a pcap or pcapng file: %w", err)
	}
	return c, nil
}

// next reads a frame. It returns io.EOF at the end of the capture.
func (c *capture) next() (f frame, err error) {
	if c.ng != nil {
		f.data, f.info, err = c.ng.ZeroCopyReadPacketData()
		if err == nil && c.ng.NInterfaces() > interfacesMost {
			err = fmt.Errorf("more than %d interfaces", interfacesMost)
		}
		if len(f.info.AncillaryData) > 0 {
			f.link, _ = f.info.AncillaryData[0].(layers.LinkType)
		}
	} else {
		f.data, f.info, err = c.pcap.ZeroCopyReadPacketData()
		f.link = c.pcap.LinkType()
	}
	if err == nil && len(f.data) > frameMost {
		err = fmt.Errorf("a packet of %d bytes", len(f.data))
	}
	c.input.left = min(c.input.left+int64(len(f.data))+blockOverhead, metadataMost+frameMost)
	return f, err
}
