// SPDX-License-Identifier: MIT

package kcp

// keyExchange decides when the messages of a key exchange are sent (S4.49, S4.50). It knows nothing
// of their contents. The dialled side asks by KEX1, and the accepted side answers by KEX2. Each
// message is repeated until what it is for has arrived:
//
//	from      to       when
//	over      asks     a session was dialled
//	over      waits    the keys are to be changed
//	asks      waits    the peer's HELLO has come, and it makes keys
//	asks      over     the peer's HELLO has come, and it makes none
//	waits     over     KEX2 has come
//	any       answers  KEX1 has come
//	answers   over     a packet under the new keys has come
type keyExchange struct {
	message []byte
	at      millis // the message is not repeated before
	tries   uint8
	stage   exchangeStage
}

type exchangeStage uint8

const (
	exchangeOver    exchangeStage = iota // nothing is to be sent
	exchangeAsks                         // KEX1 goes along with each HELLO
	exchangeWaits                        // KEX1 is repeated until KEX2 comes
	exchangeAnswers                      // KEX2 is repeated until a packet under the keys comes
)

const (
	// exchangeAlone is how often a message is sent by itself. With the back-off that takes more
	// than a minute. Later it goes along with what leaves anyway, so that an idle session has no
	// timer.
	exchangeAlone = 12
	// exchangePause is the longest time between two repetitions.
	exchangePause millis = 10_000
)

// ask begins an exchange with a peer that is not known yet.
func (x *keyExchange) ask(message []byte) {
	*x = keyExchange{message: message, stage: exchangeAsks, at: never}
}

// renew begins an exchange with a peer that makes keys.
func (x *keyExchange) renew(message []byte, now millis) {
	*x = keyExchange{message: message, stage: exchangeWaits, at: now}
}

// knows notes that the peer makes keys.
func (x *keyExchange) knows(now, rto millis) {
	if x.stage != exchangeAsks {
		return
	}
	x.stage = exchangeWaits
	if x.tries == 0 {
		x.at = now
	} else {
		x.at = now + rto // the answer is most likely on its way
	}
}

// answer begins to send KEX2.
func (x *keyExchange) answer(message []byte, now millis) {
	*x = keyExchange{message: message, stage: exchangeAnswers, at: now}
}

// again makes KEX2 leave at once: the peer has repeated KEX1.
func (x *keyExchange) again(now millis) {
	if x.stage == exchangeAnswers {
		x.at, x.tries = min(x.at, now), min(x.tries, exchangeAlone-1)
	}
}

// asking reports whether KEX2 is awaited.
func (x *keyExchange) asking() bool { return x.stage == exchangeAsks || x.stage == exchangeWaits }

// over reports whether nothing is to be sent any more.
func (x *keyExchange) over() bool { return x.stage == exchangeOver }

// end ends the exchange.
func (x *keyExchange) end() { *x = keyExchange{} }

// rider returns what a flush at that time carries.
func (x *keyExchange) rider(now millis) rider {
	if x.stage == exchangeOver {
		return rider{}
	}
	r := rider{kexMessage{ctlKex1, x.message}, riderWithHello}
	if x.stage == exchangeAnswers {
		r.kind = ctlKex2
	}
	switch {
	case x.stage == exchangeAsks && x.at == never:
	case now < x.at:
		return rider{}
	case x.tries < exchangeAlone:
		r.state = riderDue
	default:
		r.state = riderAlong
	}
	return r
}

// rode notes what has become of the rider of a flush.
func (x *keyExchange) rode(r *rider, now, rto millis) {
	switch {
	case r.state == riderLeft:
		pause := min(backoff(rto, x.tries, false), max(exchangePause, rto))
		x.tries = min(x.tries+1, maxLevel)
		x.at = now + pause
		if x.stage == exchangeAsks {
			x.at = never
		}
	case r.state == riderDue && x.stage == exchangeAsks:
		x.at = now // a HELLO has left, and there was no room for it
	}
}

// event returns when the message is to be sent by itself.
func (x *keyExchange) event() millis {
	if x.stage == exchangeOver || x.tries >= exchangeAlone {
		return never
	}
	return x.at
}
