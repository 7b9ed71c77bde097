// SPDX-License-Identifier: MIT

package kcp

// logRecord is one event to report. The state machine only notes it; its owner calls the logger once no lock is held.
type logRecord struct {
	kind KCPLogType
	seg  segment // without its data
	size int
}

var (
	inputLog  = [...]KCPLogType{logInPush, logInAck, logInWask, logInWins}
	outputLog = [...]KCPLogType{logOutPush, logOutAck, logOutWask, logOutWins}
	logNames  = map[KCPLogType]string{
		logOutput: "output", logInput: "input", logSend: "send", logRecv: "recv",
		logOutAck: "output ack", logOutPush: "output push", logOutWask: "output wask", logOutWins: "output wins",
		logInAck: "input ack", logInPush: "input push", logInWask: "input wask", logInWins: "input wins",
	}
)

// note keeps an event of the given kind if it is wanted.
func (c *core) note(kind KCPLogType, s *segment, size int) {
	if c.logMask&kind == 0 {
		return
	}
	r := logRecord{kind: kind, size: size}
	if s != nil {
		r.seg = *s
		r.seg.data = nil
	}
	r.seg.conv = c.conv
	c.logs = append(c.logs, r)
}

// takeLogs hands over what has been noted.
func (c *core) takeLogs() []logRecord {
	logs := c.logs
	c.logs = nil
	return logs
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
		l.fn(logNames[r.kind], "conv", r.seg.conv, "sn", uint32(r.seg.sn), "ts", r.seg.ts, "una", uint32(r.seg.una),
			"wnd", r.seg.wnd, "frg", r.seg.frg, "bytes", r.size)
	}
}
