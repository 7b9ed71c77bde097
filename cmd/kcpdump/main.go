// SPDX-License-Identifier: MIT

// Command kcpdump prints what a capture has of KCP, one line for each datagram, as tcpdump does:
//
//	kcpdump capture.pcapng
//	tcpdump -i eth0 -w - udp port 4000 | kcpdump -crypt aes-128-gcm -keyfile key.hex
//
// It decrypts all ciphers of the library, knows FEC and the control messages, and sums sessions up
// with -stats. See README.md, and kcpdump -h for all flags.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	os.Exit(program(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// awaitEnd makes the first interrupt leave the program alone. It ends the program at the other end of
// the pipe, too, and what that has captured is to be printed. A second one ends this program.
func awaitEnd() {
	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt)
	go func() {
		<-interrupts
		signal.Reset(os.Interrupt)
	}()
}

// Exit statuses.
const (
	statusFailed = 1
	statusUsage  = 2
)

// program is the whole program. It returns the exit status.
func program(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var secrets []*secret
	if err == nil {
		secrets, err = o.secrets()
	}
	if err != nil {
		fmt.Fprintf(stderr, "kcpdump: %v\n", err)
		return statusUsage
	}
	out := bufio.NewWriter(stdout)
	d := newDumper(o, secrets, out)
	err = d.dump(stdin)
	if err == nil || d.frames > 0 {
		d.end(out)
		for link := range d.links {
			fmt.Fprintf(stderr, "kcpdump: link type %d is not supported\n", link)
		}
		fmt.Fprintf(stderr, "kcpdump: %v\n", &d.counts)
	}
	if flushErr := out.Flush(); err == nil {
		err = flushErr
	}
	if err != nil {
		fmt.Fprintf(stderr, "kcpdump: %v\n", err)
		return statusFailed
	}
	return 0
}

// newDumper returns a dumper that prints to w.
func newDumper(o *options, secrets []*secret, w *bufio.Writer) *dumper {
	d := &dumper{o: o, secrets: secrets, tracker: newTracker(o.shape), links: map[int]bool{}}
	encoder := json.NewEncoder(w)
	var first, last time.Time
	d.out = func(r *record) (err error) {
		if first.IsZero() {
			first, last = r.Time, r.Time
		}
		if o.json {
			err = encoder.Encode(r)
		} else {
			_, err = w.WriteString(r.text(o.stamp(r.Time, first, last), o))
		}
		last = r.Time
		if err == nil && o.live {
			err = w.Flush()
		}
		return err
	}
	return d
}

// dump reads the capture that was named.
func (d *dumper) dump(stdin io.Reader) error {
	in := stdin
	if d.o.file == "-" {
		if stdin == io.Reader(os.Stdin) {
			awaitEnd()
		}
	} else {
		f, err := os.Open(d.o.file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	c, err := openCapture(in)
	if err != nil {
		return err
	}
	if d.o.write == "" {
		return d.run(c)
	}
	f, err := os.OpenFile(d.o.write, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	if d.plain, err = newPlainWriter(w); err == nil {
		err = d.run(c)
	}
	return errors.Join(err, w.Flush(), f.Close())
}

// end prints the sessions, if they were asked for.
func (d *dumper) end(w io.Writer) {
	if !d.o.stats {
		return
	}
	for _, s := range d.tracker.summaries() {
		if d.o.json {
			_ = json.NewEncoder(w).Encode(s.summary()) // errors stay with the buffered writer
		} else {
			s.print(w)
		}
	}
	if n := d.tracker.forgotten; n > 0 && !d.o.json {
		fmt.Fprintf(w, "%d older sessions were forgotten\n", n)
	}
}
