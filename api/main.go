// SPDX-License-Identifier: MIT

// Command api compares the library's exported API with the one in kcp.txt. It fails if a program
// that compiles against that one might no longer compile.
//
//	go run .        compare: exit status 1 if something incompatible has changed
//	go run . -w     regenerate kcp.txt, with additions and changes
//
// golang.org/x/exp/apidiff decides what is compatible, and its README explains the rules. Additions
// are compatible. Removals and changes of a type are not.
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
