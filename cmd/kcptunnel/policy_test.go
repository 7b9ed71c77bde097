// SPDX-License-Identifier: MIT

package main

import (
	"net/netip"
	"testing"
)

func TestPolicyAllows(t *testing.T) {
	for _, c := range []struct {
		allow, host, addr string
		want              bool
	}{
		{"", "example.com", "93.184.216.34:80", false},
		{"*", "example.com", "93.184.216.34:80", true},
		{"*", "93.184.216.34", "93.184.216.34:80", true},
		{"*", "example.com", "127.0.0.1:80", false},
		{"*", "example.com", "[::ffff:127.0.0.1]:80", false},
		{"*", "example.com", "10.1.2.3:80", false},
		{"*", "example.com", "169.254.169.254:80", false},
		{"*", "example.com", "100.64.0.1:80", false},
		{"*", "example.com", "[64:ff9b::a00:1]:80", false},
		{"*", "example.com", "[64:ff9b:1::a00:1]:80", false},
		{"*", "example.com", "[::ffff:0:127.0.0.1]:80", false},
		{"*", "example.com", "[::127.0.0.1]:80", false},
		{"*", "example.com", "[100::1]:80", false},
		{"*", "example.com", "[4000::1]:80", false},
		{"*", "example.com", "[3fff::1]:80", false},
		{"*", "example.com", "[2002:7f00:1::]:80", false},
		{"*", "example.com", "[fec0::1]:80", false},
		{"*", "example.com", "[2606:4700::1111]:80", true},
		{"*", "example.com", "192.88.98.1:80", false},
		{"*", "192.88.98.1", "[::ffff:192.88.98.1]:80", false},
		{"example.com", "example.com", "192.88.98.1:80", true},
		{"*,192.88.98.1:80", "192.88.98.1", "192.88.98.1:80", true},
		{"*", "example.com", "[fd00::1]:80", false},
		{"*", "example.com", "[fe80::1%eth0]:80", false},
		{"*", "example.com", "0.0.0.0:80", false},
		{"*", "example.com", "255.255.255.255:80", false},
		{"*", "example.com", "224.0.0.1:80", false},
		{"*,10.0.0.0/8", "example.com", "10.1.2.3:80", true},
		{"10.0.0.0/8", "10.1.2.3", "10.1.2.3:80", true},
		{"10.0.0.0/8", "10.1.2.3", "[::ffff:10.1.2.3]:80", true},
		{"10.0.0.0/8:443", "10.1.2.3", "10.1.2.3:80", false},
		{"10.0.0.0/8:80-90", "10.1.2.3", "10.1.2.3:85", true},
		{"10.0.0.0/8", "11.1.2.3", "11.1.2.3:80", false},
		{"127.0.0.1:22", "localhost", "127.0.0.1:22", true},
		{"127.0.0.1:22", "localhost", "127.0.0.1:23", false},
		{"127.0.0.1:22", "localhost", "127.0.0.2:22", false},
		{"[::1]:22", "localhost", "[::1]:22", true},
		{"::1", "localhost", "[::1]:22", true},
		{"*.example.com", "www.example.com", "93.184.216.34:80", true},
		{"*.example.com", "WWW.Example.COM.", "93.184.216.34:80", true},
		{"*.example.com", "example.com", "93.184.216.34:80", false},
		{"*.example.com", "badexample.com", "93.184.216.34:80", false},
		{"example.com:443", "example.com", "93.184.216.34:443", true},
		{"example.com:443", "example.com", "93.184.216.34:80", false},
		{"example.com", "www.example.com", "93.184.216.34:80", false},
		{" example.com , *.org ", "go.org", "93.184.216.34:80", true},
	} {
		p, err := parsePolicy(c.allow)
		if err != nil {
			t.Errorf("%q: %v", c.allow, err)
			continue
		}
		p.own = func(ip netip.Addr) bool { return ip == netip.MustParseAddr("192.88.98.1") }
		addr := netip.MustParseAddrPort(c.addr)
		if got := p.allows(c.host, addr); got != c.want {
			t.Errorf("%q: %s as %s: got %v, want %v", c.allow, c.host, c.addr, got, c.want)
		}
		if c.want && !p.mayResolve(c.host, addr.Port()) {
			t.Errorf("%q: %s is allowed, but would not be resolved", c.allow, c.host)
		}
	}
}

func TestParsePolicyNamesWhatIsWrong(t *testing.T) {
	for _, allow := range []string{
		"10.0.0.0/33", "example.com:", "example.com:0", "example.com:9-1", "example.com:70000", "a b",
		"*.", "[::1", "[::1]x", "*x.com", "10.0.0.0/8:x",
	} {
		if p, err := parsePolicy(allow); err == nil {
			t.Errorf("%q became %+v", allow, p.rules)
		}
	}
}

func TestOwnAddresses(t *testing.T) {
	for addr, want := range map[string]bool{"127.0.0.1": true, "192.0.2.1": false, "2001:db8::1": false} {
		if got := isOwn(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: got %v", addr, got)
		}
	}
}
