// SPDX-License-Identifier: MIT

// Package cli is the part of a command line that the examples share: the end by an interrupt, the
// exit status, and the report of wrong arguments.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
)

// errUsage is returned by Parse after it has printed what is wrong with the command line.
var errUsage = errors.New("wrong command line")

// Main calls run with the program's arguments and exits with the status it returns. An interrupt
// ends the context.
func Main(run func(ctx context.Context, args []string, stdout, stderr io.Writer) int) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// Parse parses args. Then check, which may be nil, returns what is wrong with the values, or "".
// Whatever is wrong is printed to the output of flags with the usage; Status knows the error.
func Parse(flags *flag.FlagSet, args []string, check func() string) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage // flags has printed it
	}
	if check == nil {
		return nil
	}
	if wrong := check(); wrong != "" {
		return Wrong(flags, wrong)
	}
	return nil
}

// Wrong prints what is wrong with the command line, then the usage, and returns the error for
// Status.
func Wrong(flags *flag.FlagSet, wrong string) error {
	fmt.Fprintf(flags.Output(), "%s: %s\n", flags.Name(), wrong)
	flags.Usage()
	return errUsage
}

// Status returns the exit status for err: 0 for none and for a call for help, 2 for a wrong command
// line, and 1 for every other error. It prints such an error behind the program's name.
func Status(name string, stderr io.Writer, err error) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		return 2
	}
	fmt.Fprintf(stderr, "%s: %v\n", name, err)
	return 1
}
