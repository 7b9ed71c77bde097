// SPDX-License-Identifier: MIT

package main

// explain returns why a session has ended, for the log.
func (c *compatSession) explain(s *settings, err error) string {
	if _, read := c.conn.seen(); read != nil {
		return read.Error()
	}
	return err.Error()
}
