// SPDX-License-Identifier: MIT

package kcp

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// connReset is the error that a program looks for when a session was reset: syscall.ECONNRESET
// where the system has it.
var connReset = resetErrors[0]

// connCheckLeaks fails the test if goroutines of this package or pooled buffers are left at its end
// that were not there before. Tests in real time call it first. In virtual time synctest checks
// goroutines.
func connCheckLeaks(t *testing.T) {
	t.Helper()
	goroutines, buffers := len(connGoroutines()), buffersOutstanding()
	t.Cleanup(func() {
		deadline := time.Now().Add(leakTimeout)
		for len(connGoroutines()) > goroutines || buffersOutstanding() != buffers {
			if time.Now().After(deadline) {
				t.Errorf("%d goroutines and %d buffers at the end, %d and %d before; running:\n%s",
					len(connGoroutines()),
					buffersOutstanding(), goroutines, buffers,
					strings.Join(connGoroutines(), "\n\n"))
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
}

// connRestless is set once something was left behind. The next test does not wait for it again.
var connRestless bool

// connAwaitStillness waits in real time until the sockets of earlier tests have ended. What they
// release would otherwise disturb the accounts of a test in virtual time.
func connAwaitStillness(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(leakTimeout); !connRestless &&
		len(connGoroutines()) > 0; time.Sleep(time.Millisecond) {
		if connRestless = time.Now().After(deadline); connRestless {
			stacks := strings.Join(connGoroutines(), "\n\n")
			t.Errorf("an earlier test has left this behind:\n%s", stacks)
		}
	}
}

// goroutineStacks returns the stacks of all goroutines.
func goroutineStacks() string {
	buf := make([]byte, 1<<20)
	n := runtime.Stack(buf, true)
	for ; n == len(buf); n = runtime.Stack(buf, true) {
		buf = make([]byte, 2*len(buf))
	}
	return string(buf[:n])
}

// bubbleGoroutines returns the number of goroutines of the calling test in virtual time. Those of
// sockets that earlier tests have left to end do not count.
func bubbleGoroutines() int { return strings.Count(goroutineStacks(), ", synctest bubble ") }

// bubbleGoroutinesButTimers is bubbleGoroutines without the scheduler's worker, which ends while
// nothing is due.
func bubbleGoroutinesButTimers() (n int) {
	for _, g := range strings.Split(goroutineStacks(), "\n\n") {
		if strings.Contains(g, ", synctest bubble ") && !strings.Contains(g, "schedWorker).run") {
			n++
		}
	}
	return n
}

// connGoroutines returns the stacks of the goroutines that belong to a session or a socket. Workers
// of the common scheduler, which stay for the life of the program, and tests do not count.
func connGoroutines() (stacks []string) {
	for _, g := range strings.Split(goroutineStacks(), "\n\n") {
		if strings.Contains(g, "kcp.(*") && !strings.Contains(g, "schedWorker).run") &&
			!strings.Contains(g, "testing.tRunner(") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}
