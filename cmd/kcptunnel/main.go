// SPDX-License-Identifier: MIT

// Command kcptunnel carries TCP connections over KCP. The client runs beside the users of a
// service, and the server beside the service:
//
//	kcptunnel server -listen :29900 -target 127.0.0.1:8080 -key SECRET
//	kcptunnel client -localaddr :12948 -remoteaddr server.example:29900 -key SECRET
//
// With -compat it speaks with the archived tunnel that many deployments of the protocol run, takes
// its flags, and reads its JSON files. Installed under the name of one of that tunnel's programs,
// such as server_linux_amd64, it is that program. COMPAT.md describes both.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// A second interrupt ends the program at once.
	context.AfterFunc(ctx, stop)
	status := program(ctx, commandLine(os.Args), os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// commandLine returns the arguments of the program. Under a name of the archived tunnel's programs,
// such as client_linux_amd64, it is that program.
func commandLine(args []string) []string {
	name := strings.ToLower(filepath.Base(args[0]))
	for _, r := range []role{roleClient, roleServer} {
		rest, found := strings.CutPrefix(name, r.String())
		if found && (rest == "" || rest == ".exe" || rest[0] == '_') {
			return append([]string{r.String(), "-compat"}, args[1:]...)
		}
	}
	return args[1:]
}

// Exit statuses.
const (
	statusFailed = 1
	statusUsage  = 2
)

const usage = `usage: kcptunnel client [flags]    beside the users of a service
       kcptunnel server [flags]    beside the service
       kcptunnel version

kcptunnel client -help and kcptunnel server -help list the flags.
`

// program is the whole program. It returns the exit status.
func program(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	command := ""
	if len(args) > 0 {
		command = args[0]
	}
	switch command {
	case "client":
		return end(ctx, roleClient, args[1:], stdout, stderr)
	case "server":
		return end(ctx, roleServer, args[1:], stdout, stderr)
	case "version", "-version", "--version", "-v":
		fmt.Fprintln(stdout, "kcptunnel", version())
		return 0
	case "help", "-h", "-help", "--help":
		fmt.Fprint(stdout, usage)
		return 0
	case "":
		fmt.Fprint(stderr, usage)
	default:
		fmt.Fprintf(stderr, "kcptunnel: unknown command %q\n%s", command, usage)
	}
	return statusUsage
}

// end runs one end of the tunnel.
func end(ctx context.Context, r role, args []string, stdout, stderr io.Writer) int {
	s := newSettings(r)
	warnings, err := s.parse(args, stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errVersion):
		fmt.Fprintln(stdout, "kcptunnel", version())
		return 0
	case err != nil:
		fmt.Fprintf(stderr, "kcptunnel %v: %v\n", r, err)
		return statusUsage
	}
	if err := run(ctx, s, warnings, stderr); err != nil {
		fmt.Fprintf(stderr, "kcptunnel %v: %v\n", r, err)
		return statusFailed
	}
	return 0
}

// run is an end of the tunnel whose settings are known.
func run(ctx context.Context, s *settings, warnings []string, stderr io.Writer) error {
	log, closeLog, err := s.logger(stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	for _, w := range append(warnings, s.warnings()...) {
		log.Warn(w)
	}
	stopHelpers, err := s.startHelpers(ctx, log)
	if err != nil {
		return err
	}
	defer stopHelpers()
	switch {
	case !s.compat:
		return runOwn(ctx, s, log)
	case s.role == roleClient:
		return runClient(ctx, s, log)
	}
	return runServer(ctx, s, log)
}

// version returns the version of the module, as the build noted it.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
