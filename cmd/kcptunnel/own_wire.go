// SPDX-License-Identifier: MIT

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

// The mode of its own begins each session with a request of the client, which the server answers.
// Numbers are in network byte order. What follows is the data: of the connection, as a stream that
// may be compressed, or datagrams.
//
//	 0               4         5        6             7         8          10
//	+---------------+---------+--------+-------------+---------+----------+-----------+
//	| magic "kTnL"  | version | kind   | compression | length  | port     | host      | request
//	+---------------+---------+--------+-------------+---------+----------+-----------+
//	 0               4         5        6
//	+---------------+---------+--------+
//	| magic "kTnL"  | version | status |                                                answer
//	+---------------+---------+--------+
//
// host has length bytes, 0 to 255: an IP address or a name. host and port are those of a kind that
// has an address, and 0 bytes and port 0 otherwise. A later version keeps the first six bytes of
// the answer. So a client of another version can report that.
const (
	wireMagic   = "kTnL"
	wireVersion = 1

	requestHeader = 10
	requestMax    = requestHeader + 255
	answerSize    = 6
)

// requestKind is what a session is for.
type requestKind uint8

const (
	kindTarget     requestKind = 1 // a connection to the server's target
	kindAddress    requestKind = 2 // a connection to the address of the request
	kindUDPTarget  requestKind = 3 // datagrams to and from the server's UDP target
	kindUDPAddress requestKind = 4 // datagrams to and from the address of the request
)

// hasAddress reports whether a request of the kind names its destination.
func (k requestKind) hasAddress() bool { return k == kindAddress || k == kindUDPAddress }

// isUDP reports whether the session carries datagrams.
func (k requestKind) isUDP() bool { return k == kindUDPTarget || k == kindUDPAddress }

func (k requestKind) String() string {
	switch k {
	case kindTarget:
		return "target"
	case kindAddress:
		return "address"
	case kindUDPTarget:
		return "udp-target"
	case kindUDPAddress:
		return "udp-address"
	}
	return "unknown"
}

// compression is how the stream of a session is compressed, the same in both directions.
type compression uint8

const (
	compressNone compression = 0
	compressZstd compression = 1
)

// status is the server's answer.
type status uint8

const (
	statusOK          status = 0
	statusRefused     status = 1 // the destination refuses the connection
	statusUnreachable status = 2 // the destination cannot be reached, or its name is not known
	statusTimeout     status = 3 // the destination does not answer
	statusForbidden   status = 4 // the server's settings do not allow the destination
	statusUnsupported status = 5 // the version, the kind or the compression is not known
	statusBusy        status = 6 // as many connections or flows as the server allows
)

func (s status) String() string {
	switch s {
	case statusOK:
		return "ok"
	case statusRefused:
		return "connection refused by the destination"
	case statusUnreachable:
		return "destination unreachable"
	case statusTimeout:
		return "destination does not answer"
	case statusForbidden:
		return "not allowed by the server's settings"
	case statusUnsupported:
		return "version or kind of request not supported by the server"
	case statusBusy:
		return "too many connections at the server"
	}
	return "status " + strconv.Itoa(int(s))
}

// request is the first message of a session.
type request struct {
	kind        requestKind
	compression compression
	host        string
	port        uint16
}

func (r *request) address() string { return net.JoinHostPort(r.host, strconv.Itoa(int(r.port))) }

// newAddressRequest returns a request of the kind for "host:port".
func newAddressRequest(kind requestKind, address string) (*request, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("port %q of %q is not a number up to 65535", text, address)
	}
	r := &request{kind: kind, host: host, port: uint16(port)}
	return r, r.check()
}

var (
	errNotTunnel    = errors.New("first message is not that of a kcptunnel client")
	errOtherVersion = errors.New("first message is of another version")
)

// check returns what is wrong with a request that was parsed, or is to be sent.
func (r *request) check() error {
	switch {
	case r.kind < kindTarget || r.kind > kindUDPAddress:
		return fmt.Errorf("%w: kind %d", errors.ErrUnsupported, r.kind)
	case r.compression > compressZstd || r.kind.isUDP() && r.compression != compressNone:
		return fmt.Errorf("%w: compression %d", errors.ErrUnsupported, r.compression)
	case !r.kind.hasAddress() && (r.host != "" || r.port != 0):
		return fmt.Errorf("%w: an address in a request to the target", errNotTunnel)
	case r.kind.hasAddress() && (r.host == "" || r.port == 0 || len(r.host) > 255):
		return fmt.Errorf("%w: host of %d bytes, port %d", errNotTunnel, len(r.host), r.port)
	case strings.ContainsFunc(r.host, notInHost):
		return fmt.Errorf("%w: a character in the host %q", errNotTunnel, r.host)
	}
	return nil
}

// notInHost reports whether a character occurs in no IP address and no name of the DNS.
func notInHost(c rune) bool {
	switch {
	case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		return false
	}
	return !strings.ContainsRune("-_.:", c)
}

// append appends the request to b.
func (r *request) append(b []byte) []byte {
	b = append(b, wireMagic...)
	b = append(b, wireVersion, byte(r.kind), byte(r.compression), byte(len(r.host)))
	b = binary.BigEndian.AppendUint16(b, r.port)
	return append(b, r.host...)
}

// readRequest reads a request and nothing behind it. An error matches errOtherVersion,
// errors.ErrUnsupported or errNotTunnel, or is that of src.
func readRequest(src io.Reader) (*request, error) {
	var buf [requestMax]byte
	if _, err := io.ReadFull(src, buf[:requestHeader]); err != nil {
		return nil, err
	}
	if string(buf[:4]) != wireMagic {
		return nil, errNotTunnel
	}
	if buf[4] != wireVersion {
		return nil, fmt.Errorf("%w: %d", errOtherVersion, buf[4])
	}
	host := buf[requestHeader : requestHeader+int(buf[7])]
	if _, err := io.ReadFull(src, host); err != nil {
		return nil, err
	}
	r := &request{
		kind: requestKind(buf[5]), compression: compression(buf[6]),
		port: binary.BigEndian.Uint16(buf[8:]), host: string(host),
	}
	return r, r.check()
}

// appendAnswer appends the answer to b.
func appendAnswer(b []byte, s status) []byte {
	return append(append(b, wireMagic...), wireVersion, byte(s))
}

// readAnswer reads an answer. An error matches errOtherVersion or errNotTunnel, or is that of src.
func readAnswer(src io.Reader) (status, error) {
	var buf [answerSize]byte
	if _, err := io.ReadFull(src, buf[:]); err != nil {
		return 0, err
	}
	switch {
	case string(buf[:4]) != wireMagic:
		return 0, errNotTunnel
	case buf[4] != wireVersion:
		return 0, fmt.Errorf("%w: %d, here it is %d", errOtherVersion, buf[4], wireVersion)
	}
	return status(buf[5]), nil
}
