// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seedkcp/kcp"
)

// diallerSettings go to the process of the dialling side.
type diallerSettings struct {
	Server   string
	Cipher   bool
	Shared   bool // sockets shared by all sessions; otherwise each has its own
	N        int  // sessions
	Parallel int  // that open at the same time
	Measure  time.Duration
}

// dialler dials sessions as a program does that needs many: a proxy, or a load generator. A few
// goroutines open them, and none reads while they are idle, so that the measurement shows the
// library's cost.
type dialler struct {
	diallerSettings
	conf     *kcp.Config
	sessions []*kcp.UDPSession
	messages atomic.Int64 // echoed by the server
	latency  []time.Duration

	stop  atomic.Bool // ends the soak
	ended chan error  // of the soak
}

func newDialler(args string) (*dialler, error) {
	d := &dialler{ended: make(chan error, 1)}
	if err := json.Unmarshal([]byte(args), &d.diallerSettings); err != nil {
		return nil, err
	}
	var err error
	if d.conf, err = config(d.Cipher); err != nil {
		return nil, err
	}
	d.conf.SharedSocket = d.Shared
	return d, nil
}

func (o diallerSettings) role() string {
	b, _ := json.Marshal(o) // it cannot fail
	return "dial " + string(b)
}

// open dials a session and has its first message, which begins with role, echoed.
func (d *dialler) open(role byte, message []byte) (*kcp.UDPSession, error) {
	s, err := d.conf.Dial(context.Background(), d.Server)
	if err != nil {
		return nil, err
	}
	message[0] = role
	// No deadline, which would stay with the session: the server's sessions have none either.
	if err := echoOnce(s, message); err != nil {
		s.SetLinger(0)
		s.Close()
		return nil, err
	}
	d.messages.Add(1)
	return s, nil
}

func (d *dialler) openAll() error {
	d.sessions = make([]*kcp.UDPSession, d.N)
	return inParallel(d.N, d.Parallel, func() func(int) error {
		message := make([]byte, firstMessage)
		return func(i int) (err error) {
			role := byte(roleIdle)
			if i%activeShare == 0 {
				role = roleActive
			}
			d.sessions[i], err = d.open(role, message)
			return err
		}
	})
}

// warm opens and ends some sessions, so that what appears with the first ones is there.
func (d *dialler) warm() error {
	return inParallel(d.Parallel, d.Parallel, func() func(int) error {
		message := make([]byte, firstMessage)
		return func(int) error {
			s, err := d.open(roleOnce, message)
			if err != nil {
				return err
			}
			return s.Close()
		}
	})
}

// echo has one session in activeShare echo ten messages a second.
func (d *dialler) echo() error {
	var active []*kcp.UDPSession
	for i := 0; i < len(d.sessions); i += activeShare {
		active = append(active, d.sessions[i])
	}
	latencies, err := echoAll(active, activeMessage, activePause, d.Measure)
	if err != nil {
		return err
	}
	slices.Sort(latencies)
	d.latency = d.latency[:0]
	for _, q := range quantiles {
		d.latency = append(d.latency, latencies[int(q.share*float64(len(latencies)))])
	}
	return nil
}

// soak opens, echoes and closes at full speed until stop is set.
func (d *dialler) soak() {
	d.ended <- inParallel(1<<62, d.Parallel, func() func(int) error {
		message := make([]byte, firstMessage)
		return func(int) error {
			if d.stop.Load() {
				return errStopped
			}
			s, err := d.open(roleOnce, message)
			if err != nil {
				return err
			}
			return s.Close()
		}
	})
}

func (d *dialler) command(name string, st *status) (err error) {
	switch name {
	case "status":
	case "warm":
		err = d.warm()
	case "open":
		err = d.openAll()
	case "echo":
		err = d.echo()
	case "close":
		for _, s := range d.sessions {
			s.Close()
		}
		d.sessions = nil
	case "soak":
		go d.soak()
	case "soaked":
		d.stop.Store(true)
		if err = <-d.ended; errors.Is(err, errStopped) {
			err = nil
		}
	case "profile", "profiled", "heap":
		err = profileCommand(name, "dialler")
	default:
		err = fmt.Errorf("unknown command %q", name)
	}
	st.Addr, st.Messages, st.Latency = d.Server, d.messages.Load(), d.latency
	snmp := kcp.DefaultSnmp.Copy()
	st.Sessions, st.Resent = int(snmp.CurrEstab), snmp.RetransSegs
	return err
}
