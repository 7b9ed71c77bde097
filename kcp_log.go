// SPDX-License-Identifier: MIT

package kcp

var (
	inputLog  = [...]KCPLogType{logInPush, logInAck, logInWask, logInWins}
	outputLog = [...]KCPLogType{logOutPush, logOutAck, logOutWask, logOutWins}
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
