// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// measureClientSoak has a process dial, echo and close at full speed, each session over a socket of
// its own, and checks that nothing accumulates there.
func measureClientSoak(s *settings, out io.Writer) (err error) {
	if err := allowDescriptors(soakMost(s) + spareDescriptors); err != nil {
		return err
	}
	server, err := startProcess(s.role())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.stop()) }()
	o := diallerSettings{server.addr, s.cipher, false, 0, s.parallel, s.measure}
	client, err := startProcess(o.role())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.stop()) }()
	if _, err := client.ask("soak"); err != nil {
		return err
	}
	t := &table{}
	t.row("second", "sessions so far", "open", "descriptors", "goroutines", "RSS, MB", "heap after a collection, MB")
	row := func(name any, st status) {
		t.row(name, st.Messages, st.Sessions, st.Descriptors, st.Goroutines, float64(st.RSS)/1e6, float64(st.Heap)/1e6)
	}
	var looks []status
	begin := time.Now()
	for range soakLooks {
		time.Sleep(s.soak / soakLooks)
		st, err := client.ask("gc")
		if err != nil {
			return err
		}
		looks = append(looks, st)
		row(int(time.Since(begin).Seconds()), st)
	}
	st, err := client.ask("soaked")
	if err != nil {
		return err
	}
	took := time.Since(begin)
	last, err := awaitNone(client, server)
	if err != nil {
		return err
	}
	row("after the end", last)
	title := fmt.Sprintf("Dialling, echoing and closing for %v, %d at a time, sockets of their own: %d a second", s.soak, s.parallel,
		int(float64(st.Messages)/took.Seconds()))
	if err := t.print(out, title); err != nil {
		return err
	}
	return flat(looks, s)
}
