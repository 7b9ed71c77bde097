// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

// Where all flows are taken, that which has been silent for longest gives way to a new one, at both
// ends. A flow in use does not.
func TestSilentFlowGivesWay(t *testing.T) {
	inWorld(t, line(5*time.Millisecond, 0), func(t *testing.T, w *world) {
		o := ownEnds(t, w, func(s *settings) { s.maxFlows = 2; s.given["udp"] = true })
		opened := 0
		o.connect = func(context.Context, *request) (net.Conn, error) {
			opened++
			near, far := memPipe()
			go echo(far)
			return near, nil
		}
		stop, _ := o.serve()
		defer stop()
		defer o.client.Close()
		options, err := w.ownSettings(roleClient, func(s *settings) { s.maxFlows = 2 }).ownOptions()
		if err != nil {
			t.Fatal(err)
		}
		limit := new(flowLimiter)
		table := newFlowTable(t.Context(), o.client, limit, func() *ownOptions { return options }, o.logger("client"))
		defer table.close()
		replies := make(chan uint16, 10)
		carries := func(port uint16) bool {
			key := flowKey{from: netip.AddrPortFrom(netip.IPv4Unspecified(), port)}
			table.send(key, []byte("x"), func([]byte) { replies <- port })
			time.Sleep(time.Second)
			select {
			case got := <-replies:
				return got == port
			default:
				return false
			}
		}
		if !carries(1) || !carries(2) || carries(3) {
			t.Error("the limit is not two flows in use")
		}
		for range 10 {
			if !carries(2) {
				t.Error("a flow in use ends")
			}
		}
		if !carries(3) || !carries(2) || opened != 3 {
			t.Errorf("the silent flow does not give way: %d were opened", opened)
		}
		if n := limit.count(); n != 2 {
			t.Errorf("%d flows are open", n)
		}
		time.Sleep(10 * time.Second)
		if !carries(1) || !carries(4) || limit.count() != 2 {
			t.Errorf("%d flows after a while", limit.count())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := limit.count(); n != 0 {
			t.Errorf("%d flows after silence", n)
		}
	})
}
