// SPDX-License-Identifier: MIT

package kcp

import "context"

// awaitPeer waits, if the options ask for it, until the peer has opened the session, and closes the session if it does not
// in time, or refuses. What a listener sends to have the address proved first is no answer.
func (s *UDPSession) awaitPeer(ctx context.Context, o *options) error {
	if !o.waitPeer {
		return nil
	}
	stop := context.AfterFunc(ctx, func() {
		s.mu.Lock()
		s.wakeReaders()
		s.mu.Unlock()
	})
	defer stop()
	s.mu.Lock()
	s.core.connect(s.now())
	s.mu.Unlock()
	s.flushNow()
	s.mu.Lock()
	for !s.core.ctl.met && s.readErr == nil && ctx.Err() == nil {
		s.wait(&s.blocked().readers)
	}
	err := s.readErr
	if err == nil && !s.core.ctl.met {
		err = ctx.Err()
	}
	s.core.connecting = false
	s.mu.Unlock()
	if err != nil {
		s.SetLinger(0)
		_ = s.Close()
	}
	return err
}
