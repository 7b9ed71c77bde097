// SPDX-License-Identifier: MIT

package simnet

import (
	"cmp"
	"net/netip"
	"slices"
)

// selector matches places by home address.
type selector struct {
	any  bool
	host netip.Addr // if valid, any port of it
	key  addrKey
}

// parseSelector reads "*", a host such as "10.0.0.1", or a whole address.
func parseSelector(s string) selector {
	if s == "*" {
		return selector{any: true}
	}
	if host, err := netip.ParseAddr(s); err == nil {
		return selector{host: host.Unmap()}
	}
	k, _ := parseKey(s)
	return selector{key: k}
}

func (s selector) matches(nd *node) bool {
	switch {
	case s.any:
		return true
	case s.host.IsValid():
		return nd.key.ip.IsValid() && nd.key.ip.Addr() == s.host
	}
	return nd.key == s.key
}

// rule is a profile or a state for the links between certain places.
type rule struct {
	from, to selector
	profile  *Profile
	state    *State
}

func (r *rule) matches(from, to *node) bool { return r.from.matches(from) && r.to.matches(to) }

// route sends packets between certain places over a shared link.
type route struct {
	from, to selector
	link     *Link // nil: a link of their own
}

// SetDefault sets the profile of all links, present and future, for which
// neither SetLink nor SetProfile was called. It panics if p is not valid.
func (n *Network) SetDefault(p Profile) {
	p.mustBeValid()
	n.do(func(t int64) {
		n.base = p
		for _, l := range n.sortedLinks() {
			if l.followsDefault {
				l.setProfile(p, t)
			}
		}
	})
}

// SetLink sets the profile of the links, present and future, that lead from one
// place to another. A place is an address ("10.0.0.1:1000"), a host
// ("10.0.0.1") or "*", by the address under which an endpoint listens. Of
// several calls that match a link the last one counts. Links made by NewLink
// are not touched. It panics if p is not valid.
func (n *Network) SetLink(from, to string, p Profile) {
	p.mustBeValid()
	n.addRule(rule{from: parseSelector(from), to: parseSelector(to), profile: &p})
}

// SetBoth is SetLink in both directions.
func (n *Network) SetBoth(a, b string, p Profile) {
	n.SetLink(a, b, p)
	n.SetLink(b, a, p)
}

// SetState sets the switch of the links, present and future, that lead from one
// place to another, named as in SetLink.
func (n *Network) SetState(from, to string, s State) {
	n.addRule(rule{from: parseSelector(from), to: parseSelector(to), state: &s})
}

func (n *Network) addRule(r rule) {
	n.do(func(t int64) {
		// A rule for the same places replaces the old one, so that a test that
		// changes its links for ever does not pile up rules.
		n.rules = slices.DeleteFunc(n.rules, func(o rule) bool {
			return o.from == r.from && o.to == r.to && (o.profile != nil) == (r.profile != nil)
		})
		n.rules = append(n.rules, r)
		for _, l := range n.sortedLinks() {
			if l.from != nil && r.matches(l.from, l.to) {
				r.apply(l, t)
			}
		}
	})
}

func (r *rule) apply(l *Link, t int64) {
	if r.profile != nil {
		l.followsDefault = false
		l.setProfile(*r.profile, t)
	} else {
		l.setState(*r.state, t)
	}
}

// NewLink makes a link that several pairs of endpoints share, such as a
// bottleneck. Packets come to it by Route. It panics if p is not valid or the
// name is that of another link.
func (n *Network) NewLink(name string, p Profile) *Link {
	p.mustBeValid()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links[name] != nil {
		panic("simnet: NewLink: there is a link " + name)
	}
	l := n.newLink(name)
	l.profile = p
	return l
}

// Route sends packets between two places, named as in SetLink, over a link made by NewLink. If l is
// nil, they have a link of their own again. Of several calls that match, the last one counts.
func (n *Network) Route(from, to string, l *Link) {
	r := route{from: parseSelector(from), to: parseSelector(to), link: l}
	n.do(func(int64) {
		n.routes = slices.DeleteFunc(n.routes, func(o route) bool { return o.from == r.from && o.to == r.to })
		n.routes = append(n.routes, r)
		for p := range n.pairs {
			if r.from.matches(p.from) && r.to.matches(p.to) {
				delete(n.pairs, p)
			}
		}
	})
}

// Link returns the link that packets from one address to another take, both
// written in full. It is made if there was none yet.
func (n *Network) Link(from, to string) *Link {
	f, _ := parseKey(from)
	t, _ := parseKey(to)
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linkTo(n.node(f), n.node(t))
}

// Links returns all links so far, in the order of their names.
func (n *Network) Links() []*Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.sortedLinks()
}

func (n *Network) sortedLinks() []*Link {
	all := make([]*Link, 0, len(n.links))
	for _, l := range n.links {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *Link) int { return cmp.Compare(a.name, b.name) })
	return all
}

// resolve finds the link between two places by the routes, or makes one of
// their own by the rules.
func (n *Network) resolve(from, to *node) *Link {
	for _, r := range slices.Backward(n.routes) {
		if r.from.matches(from) && r.to.matches(to) {
			if r.link != nil {
				return r.link
			}
			break
		}
	}
	name := from.name + ">" + to.name
	if l := n.links[name]; l != nil {
		return l
	}
	l := n.newLink(name)
	l.from, l.to, l.followsDefault, l.profile = from, to, true, n.base
	for i := range n.rules {
		if n.rules[i].matches(from, to) {
			n.rules[i].apply(l, 0)
		}
	}
	return l
}
