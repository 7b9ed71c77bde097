// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

// The query. A server drops what does not verify, so a client whose cipher or key is another one
// hears nothing. It therefore also asks in the clear, in a datagram that is no KCP, and a server
// answers which cipher it uses:
//
//	client   "kcpperf query 1\n", and spaces up to 64 bytes
//	server   "kcpperf answer 1 CIPHER\n"
//
// The answer is shorter than the query, and the rate of answers is limited, so a forged query
// amplifies nothing. A server with a cipher looks at such datagrams only after packets that did not
// verify.
const (
	queryText  = "kcpperf query 1\n"
	querySize  = 64
	answerText = "kcpperf answer 1 "

	queryAgain       = 900 * time.Millisecond // the first only finds out whether the port is closed, where all is well
	queryEvery       = 300 * time.Millisecond
	answersPerSecond = 50
)

func newQuery() []byte {
	return []byte(queryText + strings.Repeat(" ", querySize-len(queryText)))
}

func isQuery(p []byte) bool {
	return len(p) == querySize && strings.HasPrefix(string(p), queryText)
}

func newAnswer(cipher string) []byte { return []byte(answerText + cipher + "\n") }

// parseAnswer returns the cipher that an answer names.
func parseAnswer(p []byte) (cipher string, ok bool) {
	cipher, ok = strings.CutPrefix(string(p), answerText)
	if !ok {
		return "", false
	}
	cipher, ok = strings.CutSuffix(cipher, "\n")
	if cipher == noCipher {
		return cipher, ok
	}
	for _, k := range cipherKinds {
		if k.name == cipher {
			return cipher, ok
		}
	}
	return "", false
}

// presence is what can be found out about a server that does not answer as it should.
type presence struct {
	refused error  // no program listens on the port
	cipher  string // the server's cipher; empty: no answer
}

// query asks the server at addr until ctx is done or something is known. It uses a connected
// socket: only such a socket reports the ICMP message that a port is closed.
func query(ctx context.Context, addr string) (p presence) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		return p // dialling the session returns a better error
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	buf := make([]byte, 2*querySize)
	for wait := queryAgain; ctx.Err() == nil; wait = queryEvery {
		_, err := conn.Write(newQuery())
		if err == nil {
			_ = conn.SetReadDeadline(time.Now().Add(wait))
			var n int
			if n, err = conn.Read(buf); err == nil {
				if cipher, ok := parseAnswer(buf[:n]); ok {
					p.cipher = cipher
					return p
				}
			}
		}
		var timeout net.Error
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			p.refused = err
			return p
		case !errors.As(err, &timeout) || !timeout.Timeout():
			// Another program answers, or the system reports another error: retry slowly.
			pause(ctx, wait)
		}
	}
	return p
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// strays reads and writes the packets of a server's socket that are not KCP, as kcp.Transport does.
type strays interface {
	ReadNonKCP(ctx context.Context, p []byte) (int, net.Addr, error)
	WriteTo(p []byte, addr net.Addr) (int, error)
}

// doorkeeper reports packets with another cipher or key to the server's user, and answers queries.
type doorkeeper struct {
	cipher     string
	unverified func() uint64 // how many packets have not verified so far
	log        func(format string, args ...any)
}

const (
	lookEvery = 200 * time.Millisecond
	lookBack  = 5                // times lookEvery
	lookLeast = 3                // packets in that time that do not verify, before any is looked at
	logPause  = 10 * time.Second // between two lines about the same host
)

// run works until ctx is done. Looking at each packet that does not verify costs a copy of each
// that does. So with a cipher it begins only after packets that did not verify.
func (d *doorkeeper) run(ctx context.Context, s strays) {
	if d.cipher != noCipher && !d.await(ctx) {
		return
	}
	buf := make([]byte, 2*querySize)
	told := map[string]time.Time{}
	var second time.Time
	answers := 0
	for {
		n, from, err := s.ReadNonKCP(ctx, buf)
		if err != nil {
			return
		}
		now := time.Now()
		if isQuery(buf[:n]) {
			if now.Sub(second) >= time.Second {
				second, answers = now, 0
			}
			if answers++; answers <= answersPerSecond {
				_, _ = s.WriteTo(newAnswer(d.cipher), from) // the client repeats a query whose answer was lost
			}
			continue
		}
		if host := hostOf(from); now.Sub(told[host]) >= logPause {
			if len(told) >= 1000 {
				clear(told) // senders that change their address must not fill the memory
			}
			told[host] = now
			d.log("%v: %s", from, d.complaint())
		}
	}
}

func (d *doorkeeper) complaint() string {
	if d.cipher == noCipher {
		return "packets arrive that are no KCP; the sender may use a --cipher, which this server does not"
	}
	return fmt.Sprintf("packets arrive that do not verify; the sender uses another --cipher or --key than this server (%s)", d.cipher)
}

// await waits for packets that do not verify, more than a client with the right key sends with its
// query. It returns false when ctx is done.
func (d *doorkeeper) await(ctx context.Context) bool {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	var before [lookBack]uint64
	for i := range before {
		before[i] = d.unverified()
	}
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		now := d.unverified()
		if now >= before[i%lookBack]+lookLeast {
			return true
		}
		before[i%lookBack] = now
	}
}

// asking is a query under way.
type asking struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	found  presence
}

// ask has d queried until stop. known is called once something is known.
func ask(ctx context.Context, d dialer, known func(presence)) *asking {
	a := new(asking)
	ctx, a.cancel = context.WithCancel(ctx)
	a.wait.Go(func() {
		a.found = d.query(ctx)
		if a.found != (presence{}) {
			known(a.found)
		}
	})
	return a
}

// stop ends it and returns what is known.
func (a *asking) stop() presence {
	a.cancel()
	a.wait.Wait()
	return a.found
}
