// SPDX-License-Identifier: MIT

//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// roleVariable makes the program a server or a dialler that obeys its standard input, one command a
// line, and answers each with one line of JSON.
const roleVariable = "KCP_SCALE_ROLE"

// status is how such a process stands.
type status struct {
	Addr        string        // the server's
	RSS         int64         // bytes, resident
	Heap        int64         // bytes of the heap in use, garbage included
	Goroutines  int           // of the whole process
	Descriptors int           // open files and sockets
	CPU         time.Duration // user and system, since its start
	GC, Busy    time.Duration // the runtime's estimates at its latest collection: that took, and all
	Sessions    int
	Messages    int64           // echoed
	Bytes       int64           // taken from those that upload
	Resent      uint64          // segments
	Latency     []time.Duration // of the latest echoes, one for each of quantiles
	Switches    int64           // times that a thread of the process was put to sleep or woken
	Error       string
}

// role is what such a process does.
type role interface {
	// command carries out one command and adds to st.
	command(name string, st *status) error
}

func runRole(name string, in io.Reader, out io.Writer) error {
	kind, args, _ := strings.Cut(name, " ")
	var s role
	var err error
	switch kind {
	case "kcp":
		s, err = newKCPServer(args)
	case "raw":
		s, err = newRawServer()
	case "dial":
		s, err = newDialler(args)
	default:
		err = fmt.Errorf("unknown role %q", name)
	}
	if err != nil {
		return err
	}
	answers := json.NewEncoder(out)
	for lines := bufio.NewScanner(in); lines.Scan(); {
		st := new(status)
		command := lines.Text()
		switch command {
		case "gc":
			runtime.GC()
			command = "status"
		case "free":
			debug.FreeOSMemory()
			command = "status"
		}
		if err := s.command(command, st); err != nil {
			st.Error = err.Error()
		}
		st.look()
		if err := answers.Encode(st); err != nil {
			return err
		}
	}
	return nil
}

// look fills in the figures that any process has.
func (st *status) look() {
	st.RSS = residentSize()
	st.Goroutines = runtime.NumGoroutine()
	st.Descriptors = openDescriptors()
	st.CPU, st.Switches = usage()
	st.GC, st.Busy = collectorTime()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	st.Heap = int64(m.HeapAlloc)
}

// usage returns the processor time of the process, and how often a thread of it gave up or lost the
// processor.
func usage() (cpu time.Duration, switches int64) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano()), u.Nvcsw + u.Nivcsw
}

// residentSize returns VmRSS in bytes (proc(5), statm).
func residentSize() int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(data))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

// openDescriptors returns how many descriptors are open. Since Linux 6.2 the size of the directory
// says so, which costs next to nothing while a process is measured.
func openDescriptors() int {
	if info, err := os.Stat("/proc/self/fd"); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	names, _ := os.ReadDir("/proc/self/fd")
	return max(0, len(names)-1) // without that of the directory
}

// collectorTime returns the processor time of the garbage collector, without what it takes while
// processors would be idle, and that of the whole process.
func collectorTime() (gc, busy time.Duration) {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/gc/mark/idle:cpu-seconds"},
		{Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	seconds := func(i int) time.Duration { return time.Duration(samples[i].Value.Float64() * 1e9) }
	idle := seconds(1)
	return seconds(0) - idle, seconds(2) - idle - seconds(3)
}

// profileCommand carries out "profile", "profiled" or "heap". The files begin with name.
func profileCommand(command, name string) error {
	switch command {
	case "profile":
		f, err := os.Create(name + ".prof")
		if err != nil {
			return err
		}
		return pprof.StartCPUProfile(f)
	case "profiled":
		pprof.StopCPUProfile()
		return nil
	}
	f, err := os.Create(name + ".heap")
	if err != nil {
		return err
	}
	return errors.Join(pprof.WriteHeapProfile(f), f.Close())
}

// process is a server or a dialler.
type process struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	answers *json.Decoder
	addr    string
}

// startProcess starts a process with that role. env is added to its environment.
func startProcess(role string, env ...string) (*process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(exe)}
	p.cmd.Env = append(append(os.Environ(), env...), roleVariable+"="+role)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(out)
	st, err := p.ask("status")
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	p.addr = st.Addr
	return p, nil
}

// ask has the process carry out a command.
func (p *process) ask(command string) (st status, err error) {
	if _, err = fmt.Fprintln(p.in, command); err == nil {
		err = p.answers.Decode(&st)
	}
	if err == nil && st.Error != "" {
		err = errors.New(st.Error)
	}
	if err != nil {
		err = fmt.Errorf("command %q: %w", command, err)
	}
	return st, err
}

func (p *process) stop() error {
	p.in.Close()
	return p.cmd.Wait()
}
