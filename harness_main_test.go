// SPDX-License-Identifier: MIT

package kcp

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// leakTimeout bounds how long what the tests have closed takes to end. It is longer than the
// linger time of a session whose peer ended first.
const leakTimeout = lingerDefault + 5*time.Second

// TestMain fails a run that leaves goroutines of the package behind, and with the tag kcpdebug
// pooled buffers.
func TestMain(m *testing.M) {
	code := m.Run()
	if code == 0 {
		if err := awaitNoLeaks(leakTimeout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// awaitNoLeaks waits until nothing is left, and returns what is left when the time is over.
func awaitNoLeaks(timeout time.Duration) (err error) {
	for end := time.Now().Add(timeout); ; time.Sleep(20 * time.Millisecond) {
		if err = findLeaks(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func findLeaks() error {
	var leaked []string
	workers := 0
	for _, g := range strings.Split(goroutineStacks(), "\n\n")[1:] { // the first is this one
		switch {
		case strings.Contains(g, ".(*schedWorker).run("):
			workers++
		case strings.Contains(g, "seedkcp/kcp."):
			leaked = append(leaked, g)
		}
	}
	if most := len(SystemTimedSched.workers); workers > most {
		return fmt.Errorf("%d scheduler workers are left, want at most the system scheduler's %d",
			workers, most)
	}
	if len(leaked) > 0 {
		return fmt.Errorf("%d goroutines leaked:\n\n%s", len(leaked), strings.Join(leaked, "\n\n"))
	}
	if n := buffersOutstanding(); n > 0 {
		return fmt.Errorf("%d pooled buffers leaked", n)
	}
	return nil
}

// longForm selects the full length of flood tests: go test -run TestSpoofed -args -long.
var longForm = flag.Bool("long", false, "run floods in their full length")
