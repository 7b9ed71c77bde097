// SPDX-License-Identifier: MIT

package kcp

// Types of the messages of a key exchange (S4.48). A control segment carries one of them alone.
const (
	ctlKex1 = 10
	ctlKex2 = 11
)

// kexMost is the most bytes of a message that this side sends.
const kexMost = 80

// helloKeys is bit 4 of a HELLO's flags: the sender makes keys for the session.
const helloKeys = 1 << 4

// kexFlags are the bits of a HELLO's flags that a key exchange covers. The others change from HELLO
// to HELLO.
const kexFlags = 0xff &^ (helloProved | helloOpens)

// A kexMessage is one message of a key exchange: KEX1, KEX2, or none if kind is 0.
type kexMessage struct {
	kind uint8
	data []byte
}

// append appends the message to b.
func (m *kexMessage) append(b []byte) []byte {
	return append(append(b, m.kind, uint8(len(m.data))), m.data...)
}

// findKex returns the last message of a key exchange among control messages.
func findKex(b []byte) (m kexMessage) {
	for len(b) > 0 {
		if len(b) < 2 || len(b)-2 < int(b[1]) {
			return kexMessage{}
		}
		n := 2 + int(b[1])
		if b[0] == ctlKex1 || b[0] == ctlKex2 {
			m = kexMessage{b[0], b[2:n]}
		}
		b = b[n:]
	}
	return m
}

// A rider is a message of a key exchange that goes along with the packets of one flush.
type rider struct {
	kexMessage
	state riderState
}

// riderState tells when a rider leaves.
type riderState uint8

const (
	riderNone      riderState = iota // there is none
	riderWithHello                   // with a HELLO
	riderAlong                       // if something leaves anyway
	riderDue                         // now
	riderLeft                        // it has left
)
