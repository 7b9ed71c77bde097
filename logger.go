// SPDX-License-Identifier: MIT

package kcp

// KCPLogType is a set of IKCP_LOG_ bits: the events that SetLogger reports. The zero value is none.
type KCPLogType int32

// The events by their names inside this package.
const (
	logOutput  KCPLogType = 1 << iota // a datagram leaves
	logInput                          // a datagram came in
	logSend                           // bytes are queued by Write
	logRecv                           // bytes are taken by Read
	logOutAck                         // an ACK segment leaves
	logOutPush                        // a data segment leaves
	logOutWask                        // a window probe leaves
	logOutWins                        // a window update leaves
	logInAck                          // an ACK segment came in
	logInPush                         // a data segment came in
	logInWask                         // a window probe came in
	logInWins                         // a window update came in

	logOutputAll = logOutput | logOutAck | logOutPush | logOutWask | logOutWins
	logInputAll  = logInput | logInAck | logInPush | logInWask | logInWins
	logAll       = logOutputAll | logInputAll | logSend | logRecv
)

// The events of SetLogger, by their exported names.
const (
	IKCP_LOG_OUTPUT   = logOutput  // datagrams sent
	IKCP_LOG_INPUT    = logInput   // datagrams received
	IKCP_LOG_SEND     = logSend    // bytes queued by Write
	IKCP_LOG_RECV     = logRecv    // bytes taken by Read
	IKCP_LOG_OUT_ACK  = logOutAck  // ACK segments sent
	IKCP_LOG_OUT_PUSH = logOutPush // data segments sent
	IKCP_LOG_OUT_WASK = logOutWask // window probes sent
	IKCP_LOG_OUT_WINS = logOutWins // window updates sent
	IKCP_LOG_IN_ACK   = logInAck   // ACK segments received
	IKCP_LOG_IN_PUSH  = logInPush  // data segments received
	IKCP_LOG_IN_WASK  = logInWask  // window probes received
	IKCP_LOG_IN_WINS  = logInWins  // window updates received

	IKCP_LOG_OUTPUT_ALL = logOutputAll // OUTPUT and all OUT_
	IKCP_LOG_INPUT_ALL  = logInputAll  // INPUT and all IN_
	IKCP_LOG_ALL        = logAll       // everything
)

// A logger is the argument of SetLogger. It never changes once made, so an owner swaps the pointer
// and readers need no lock. nil reports nothing.
//
// A call site checks first, so that nothing is boxed for an unwanted report:
//
//	if l.enabled(logInput) {
//		l.fn("input", "conv", conv, "bytes", len(data))
//	}
type logger struct {
	mask KCPLogType
	fn   func(msg string, args ...any) // args are key, value pairs
}

// newLogger returns nil if nothing is to be reported.
func newLogger(mask KCPLogType, fn func(msg string, args ...any)) *logger {
	if fn == nil || mask&logAll == 0 {
		return nil
	}
	return &logger{mask: mask & logAll, fn: fn}
}

// events returns the events that l reports.
func (l *logger) events() KCPLogType {
	if l == nil {
		return 0
	}
	return l.mask
}

// enabled reports whether l wants an event of the kinds in m.
func (l *logger) enabled(m KCPLogType) bool { return l != nil && l.mask&m != 0 }

// A logRecord is an event noted by the state machine. Its owner calls the logger without a lock.
type logRecord struct {
	kind KCPLogType
	seg  segment // without its data
	size int
}

var logNames = map[KCPLogType]string{
	logOutput: "output", logInput: "input", logSend: "send", logRecv: "recv",
	logOutAck: "output ack", logOutPush: "output push",
	logOutWask: "output wask", logOutWins: "output wins",
	logInAck: "input ack", logInPush: "input push",
	logInWask: "input wask", logInWins: "input wins",
}

// report calls the logger for each record. No lock may be held.
func (l *logger) report(logs []logRecord) {
	for i := range logs {
		r := &logs[i]
		if !l.enabled(r.kind) {
			continue
		}
		if r.kind&(logOutput|logInput|logSend|logRecv) != 0 {
			l.fn(logNames[r.kind], "conv", r.seg.conv, "bytes", r.size)
			continue
		}
		l.fn(logNames[r.kind], "conv", r.seg.conv, "sn", uint32(r.seg.sn),
			"ts", uint32(r.seg.ts), "una", uint32(r.seg.una), "wnd", r.seg.wnd,
			"frg", r.seg.frg, "bytes", r.size)
	}
}
