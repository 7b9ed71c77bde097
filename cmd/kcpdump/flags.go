// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// options are the command line.
type options struct {
	file    string // "-" for standard input
	crypt   string
	key     string
	keyFile string
	keyLog  string
	phrase  string
	kdf     string
	shape   shape
	port    uint16 // 0 for all
	conv    *hex32 // nil for all
	count   int    // of lines, 0 for all
	times   string
	write   string
	stats   bool
	json    bool
	verbose bool
	hex     bool
	live    bool
	zone    *time.Location
}

// filtered reports whether only some packets were asked for.
func (o *options) filtered() bool { return o.port != 0 || o.conv != nil }

const usageText = `Usage: kcpdump [flags] [FILE]

kcpdump prints the KCP datagrams of a pcap or pcapng file, one a line. Without FILE, or with -, it
reads standard input.

`

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	o := &options{zone: time.Local}
	f := flag.NewFlagSet("kcpdump", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	o.define(f)
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, usageText)
			f.SetOutput(stderr)
			f.PrintDefaults()
			return nil, err
		}
		return nil, fmt.Errorf("%w; kcpdump -h lists the flags", err)
	}
	switch f.NArg() {
	case 0:
		o.file = "-"
	case 1:
		o.file = f.Arg(0)
	default:
		return nil, fmt.Errorf("unexpected argument %q", f.Arg(1))
	}
	o.live = o.file == "-"
	o.verbose = o.verbose || o.hex
	if o.times != "clock" && o.times != "date" && o.times != "relative" && o.times != "delta" {
		return nil, fmt.Errorf("-time is %q, want clock, date, relative or delta", o.times)
	}
	if o.stats && o.count > 0 {
		return nil, errors.New("-stats has no lines to count with -c")
	}
	return o, nil
}

func (o *options) define(f *flag.FlagSet) {
	f.StringVar(&o.crypt, "crypt", "", "`cipher` of the packets, as aes-128-gcm; needs a key")
	f.StringVar(&o.key, "key", "", "the key in `hexadecimal`; others can see it in the list of processes")
	f.StringVar(&o.keyFile, "keyfile", "", "`file` with the key in hexadecimal")
	f.StringVar(&o.phrase, "phrase", "", "pass `phrase` that the key is made of, see -kdf")
	f.StringVar(&o.kdf, "kdf", "kcpperf", "how the key is made of the phrase: kcpperf or kcptun")
	f.StringVar(&o.keyLog, "keylog", "", "`file` with ciphers and keys, as kcpperf --keylog writes it")
	f.Func("fec", "`D/P`: the groups have D data and P parity packets; otherwise they are inferred", o.setFEC)
	f.Func("port", "only packets from or to this UDP `port`, whether or not they look like KCP", func(v string) error {
		n, err := strconv.ParseUint(v, 10, 16)
		if err != nil || n == 0 {
			return errors.New("want a number from 1 to 65535")
		}
		o.port = uint16(n)
		return nil
	})
	f.Func("conv", "only this conversation, in `hexadecimal`", func(v string) error {
		n, err := strconv.ParseUint(strings.TrimPrefix(v, "0x"), 16, 32)
		if err != nil {
			return errors.New("want up to eight hexadecimal digits")
		}
		conv := hex32(n)
		o.conv = &conv
		return nil
	})
	f.IntVar(&o.count, "c", 0, "end after `N` lines")
	f.StringVar(&o.times, "time", "clock", "`form` of the times: clock, date, relative (to the first line) or delta (to the line before)")
	f.StringVar(&o.write, "w", "", "also write the decrypted datagrams to a pcap `file`, which Wireshark can open")
	f.BoolVar(&o.stats, "stats", false, "print a summary of each session instead")
	f.BoolVar(&o.json, "json", false, "print JSON, an object a line")
	f.BoolVar(&o.verbose, "v", false, "print every segment in full")
	f.BoolVar(&o.hex, "x", false, "print the data of every segment in hexadecimal; implies -v")
}

func (o *options) setFEC(v string) error {
	d, p, ok := strings.Cut(v, "/")
	data, err1 := strconv.Atoi(d)
	parity, err2 := strconv.Atoi(p)
	if !ok || err1 != nil || err2 != nil || data < 1 || parity < 1 || data+parity > 256 {
		return errors.New("want two numbers as in 10/3, together at most 256")
	}
	o.shape = shape{data: data, parity: parity, given: true}
	return nil
}

// stamp is the time of a line in the form that was chosen.
func (o *options) stamp(at, first, last time.Time) string {
	switch o.times {
	case "date":
		return at.In(o.zone).Format("2006-01-02 15:04:05.000000")
	case "relative":
		return fmt.Sprintf("%.6f", at.Sub(first).Seconds())
	case "delta":
		return fmt.Sprintf("%.6f", at.Sub(last).Seconds())
	}
	return at.In(o.zone).Format("15:04:05.000000")
}
