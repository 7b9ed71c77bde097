// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"io"
	"slices"
)

// needsRestart are the settings that do not change while the program runs: sockets, secrets and the
// log are opened once. For a server, the settings of its sessions are among them, because a listener
// has them.
var needsRestart = map[role][]string{
	roleClient: {"compat", "localaddr", "socks", "udp", "key", "keyfile", "crypt", "dscp", "sockbuf",
		"metrics", "log", "log-format", "pprof", "snmplog", "snmpperiod"},
	roleServer: {"compat", "listen", "key", "keyfile", "crypt", "dscp", "sockbuf", "metrics", "log",
		"log-format", "pprof", "snmplog", "snmpperiod", "mtu", "mode", "nodelay", "interval", "resend",
		"sndwnd", "rcvwnd", "acknodelay", "keepalive"},
}

// reloads reads the settings again at each signal, until ctx is done. What can change, changes for
// new connections. change is called with the new settings.
func (e *ownEnd) reloads(ctx context.Context, change func(*ownOptions)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.settings.hangups:
		}
		err := e.reload(change)
		e.meters.reloaded(err)
		if err != nil {
			e.log.Error("reload: the settings in force stay", "error", err)
		}
	}
}

// reload reads the command line and the file again. After an error nothing has changed.
func (e *ownEnd) reload(change func(*ownOptions)) error {
	next := newSettings(e.settings.role)
	warnings, err := next.parse(e.settings.args, io.Discard)
	if err != nil {
		return err
	}
	o, err := next.ownOptions()
	if err != nil {
		return err
	}
	for _, w := range warnings {
		e.log.Warn(w)
	}
	before := e.options.Load()
	if fixed := changedNames(e.settings, next); len(fixed) > 0 {
		e.log.Warn("reload: these settings change with a restart", "settings", fixed)
	}
	// The sockets that are open keep what they were opened with.
	o.config.BlockCrypt, o.config.OnSocketError = before.config.BlockCrypt, before.config.OnSocketError
	o.local, o.socks = before.local, before.socks
	if e.settings.role == roleClient {
		o.udp = before.udp
	}
	e.settings.level.Set(next.level.Level())
	e.options.Store(o)
	change(o)
	e.log.Info("settings reloaded")
	return nil
}

// changedNames returns the settings that differ and need a restart.
func changedNames(old, next *settings) (names []string) {
	values := make(map[string]string)
	for _, o := range optionsOf(old) {
		if o.roles&old.role != 0 {
			values[o.names[0]] = o.value.String()
		}
	}
	for _, o := range optionsOf(next) {
		name := o.names[0]
		if o.roles&old.role != 0 && slices.Contains(needsRestart[old.role], name) &&
			values[name] != o.value.String() {
			names = append(names, name)
		}
	}
	return names
}
