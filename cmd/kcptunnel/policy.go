// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// policy is which destinations the clients of a server may name. The zero value allows none.
//
// A rule for names, or "*", allows public addresses alone. Others need a rule that has them. "*"
// does not allow the addresses of the server itself either: what listens there may be behind a
// firewall.
type policy struct {
	rules []rule
	own   func(netip.Addr) bool // reports whether an address is one of this machine
}

// rule is one pattern of -allow. Of name and prefix one is set.
type rule struct {
	name     string       // "example.com", "*.example.com" for all below it, "*" for all
	prefix   netip.Prefix // the addresses themselves
	min, max uint16       // ports
}

// parsePolicy parses a list of patterns with commas in between: CIDR, address, name, *.name or *,
// each with :port or :min-max behind it, if not all ports are meant.
func parsePolicy(text string) (*policy, error) {
	p := &policy{own: isOwn}
	for pattern := range strings.SplitSeq(text, ",") {
		if pattern = strings.TrimSpace(pattern); pattern == "" {
			continue
		}
		r, err := parseRule(pattern)
		if err != nil {
			return nil, fmt.Errorf("allow: %q: %w", pattern, err)
		}
		p.rules = append(p.rules, r)
	}
	return p, nil
}

func parseRule(pattern string) (r rule, err error) {
	r = rule{min: 1, max: 65535}
	host, ports := pattern, ""
	switch i := strings.LastIndexByte(pattern, ':'); {
	case strings.HasPrefix(pattern, "["):
		end := strings.IndexByte(pattern, ']')
		if end < 0 {
			return r, errors.New("a bracket is not closed")
		}
		host, ports = pattern[1:end], strings.TrimPrefix(pattern[end+1:], ":")
		if ports == pattern[end+1:] && ports != "" {
			return r, fmt.Errorf("%q behind the brackets", ports)
		}
	case i >= 0 && strings.Count(pattern, ":") == 1: // more are an IPv6 address without brackets
		host, ports = pattern[:i], pattern[i+1:]
		if ports == "" {
			return r, errors.New("the port is missing")
		}
	}
	if ports != "" {
		if r.min, r.max, err = parsePortRange(ports); err != nil {
			return r, err
		}
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		r.prefix = netip.PrefixFrom(addr, addr.BitLen())
		return r, nil
	}
	if strings.Contains(host, "/") {
		r.prefix, err = netip.ParsePrefix(host)
		return r, err
	}
	r.name = strings.ToLower(strings.TrimSuffix(host, "."))
	rest := strings.TrimPrefix(r.name, "*.")
	if r.name == "" || host != "*" && (rest == "" || strings.ContainsFunc(rest, notInHost)) {
		return r, fmt.Errorf("%q is no name, address or prefix", host)
	}
	return r, nil
}

// parsePortRange parses "port" or "min-max".
func parsePortRange(text string) (low, high uint16, err error) {
	first, last, ranged := strings.Cut(text, "-")
	if !ranged {
		last = first
	}
	a, err := strconv.ParseUint(first, 10, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("port %q", text)
	}
	b, err := strconv.ParseUint(last, 10, 16)
	if err != nil || a == 0 || a > b {
		return 0, 0, fmt.Errorf("port %q", text)
	}
	return uint16(a), uint16(b), nil
}

// covers reports whether the rule has the port and the name, or the address that is the name.
func (r *rule) covers(host string, port uint16) bool {
	if port < r.min || port > r.max || r.name == "" {
		return false
	}
	if r.name == "*" {
		return true
	}
	if suffix, wild := strings.CutPrefix(r.name, "*"); wild {
		return strings.HasSuffix(host, suffix)
	}
	return host == r.name
}

// allows reports whether a client that has named host may reach addr, which host has become.
func (p *policy) allows(host string, addr netip.AddrPort) bool {
	ip := addr.Addr().Unmap()
	if ip.Zone() != "" {
		return false
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	public := isPublic(ip)
	for i := range p.rules {
		r := &p.rules[i]
		if r.prefix.IsValid() {
			if r.prefix.Contains(ip) && addr.Port() >= r.min && addr.Port() <= r.max {
				return true
			}
		} else if public && r.covers(host, addr.Port()) && (r.name != "*" || !p.own(ip)) {
			return true
		}
	}
	return false
}

// mayResolve reports whether any address of host could be allowed, so that its name is worth a
// question to the DNS.
func (p *policy) mayResolve(host string, port uint16) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for i := range p.rules {
		r := &p.rules[i]
		if r.covers(host, port) || r.prefix.IsValid() && port >= r.min && port <= r.max {
			return true
		}
	}
	return false
}

// isOwn reports whether an address is one of this machine's interfaces. If they are not known, it
// reports true.
func isOwn(ip netip.Addr) bool {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return true
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap().WithZone("") == ip {
			return true
		}
	}
	return false
}

// globalUnicast are the IPv6 addresses that IANA assigns. The others embed IPv4 addresses, or are
// reserved.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// notPublic lists what globalUnicast, IsGlobalUnicast and IsPrivate do not exclude: the registries
// of RFC 6890, and prefixes that embed an IPv4 address, which a router may forward to it.
var notPublic = func() (prefixes []netip.Prefix) {
	for _, text := range []string{
		"0.0.0.0/8",       // this network (RFC 1122)
		"100.64.0.0/10",   // shared address space (RFC 6598)
		"192.0.0.0/24",    // IETF protocol assignments
		"192.0.2.0/24",    // documentation (RFC 5737)
		"192.88.99.0/24",  // 6to4 relays (RFC 7526)
		"198.18.0.0/15",   // benchmarks (RFC 2544)
		"198.51.100.0/24", // documentation
		"203.0.113.0/24",  // documentation
		"240.0.0.0/4",     // reserved, and the limited broadcast
		"2001::/23",       // IETF protocol assignments, with Teredo
		"2001:db8::/32",   // documentation
		"2002::/16",       // 6to4
		"3fff::/20",       // documentation (RFC 9637)
	} {
		prefixes = append(prefixes, netip.MustParsePrefix(text))
	}
	return prefixes
}()

// isPublic reports whether an address belongs to the public internet.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.Is6() && !globalUnicast.Contains(ip) {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(ip) {
			return false
		}
	}
	return true
}
