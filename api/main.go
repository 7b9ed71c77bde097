// SPDX-License-Identifier: MIT

// Command api compares the library's exported API with the one in kcp.txt, and
// fails if a program that compiles against that one might not compile any more.
//
//	go run .        compare: exit status 1 if something incompatible has changed
//	go run . -w     write kcp.txt anew, with what was added or changed
//
// What is compatible is decided by golang.org/x/exp/apidiff, whose README says
// so at length: what was added is, what was removed or has another type is not.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// baseline is the name of the file that holds the API, in this directory.
const baseline = "kcp.txt"

var errIncompatible = errors.New("the API has changed in a way that breaks programs")

func main() {
	if err := run(os.Args[1:], "..", baseline, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "api: %v\n", err)
		os.Exit(1)
	}
}

// run compares the package in dir with the file, or writes the file.
func run(args []string, dir, file string, stdout io.Writer) error {
	flags := flag.NewFlagSet("api", flag.ContinueOnError)
	write := flags.Bool("w", false, "write the API to "+baseline)
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *write {
		text, err := describe(dir)
		if err != nil {
			return err
		}
		return os.WriteFile(file, text, 0o666)
	}
	breaking, added, err := compare(dir, file)
	if err != nil {
		return err
	}
	for _, s := range breaking {
		fmt.Fprintf(stdout, "incompatible: %s\n", s)
	}
	if len(breaking) > 0 {
		return fmt.Errorf("%w; if that is meant, run 'go run . -w' in the directory api and commit %s with the change",
			errIncompatible, filepath.Base(file))
	}
	fmt.Fprintf(stdout, "compatible with %s; added since: %d\n", filepath.Base(file), len(added))
	return nil
}
