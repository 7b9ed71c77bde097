// SPDX-License-Identifier: MIT

package kcp

import (
	"net"
	"time"
)

// TraceInfo tells Config.Trace which session is to be traced.
type TraceInfo struct {
	Conv   uint32   // the conversation id
	Local  net.Addr // of the session's socket
	Remote net.Addr // of the peer

	// VantagePoint is the side that the trace is of, as qlog names it: "client" for the session of
	// a program that has dialled, "server" for one that was accepted.
	VantagePoint string

	// Start is time 0 of the trace.
	Start time.Time
}
