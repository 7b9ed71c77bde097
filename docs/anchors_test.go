// SPDX-License-Identifier: MIT

//go:build !race && !kcpbasic && (amd64 || arm64)

package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var (
	// anchor is the number of a rule, at the start of a line of protocol.md.
	anchor = regexp.MustCompile(`(?m)^\*\*(S\d+\.\d+)\*\* `)

	// rule is the number of a rule in text.
	rule = regexp.MustCompile(`\bS\d+\.\d+\b`)
)

// citations returns the rules that the files of the root package cite, with the names of the files.
// A comment cites by the number of a rule, mostly as "protocol.md S1.4". A test may also have a
// rule's number as a string.
func citations(t *testing.T) (code, tests map[string][]string) {
	t.Helper()
	code, tests = map[string][]string{}, map[string][]string{}
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil,
			parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		name, cited := filepath.Base(file), code
		if strings.HasSuffix(name, "_test.go") {
			cited = tests
			ast.Inspect(parsed, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					s, err := strconv.Unquote(lit.Value)
					if err == nil && rule.FindString(s) == s && s != "" {
						cited[s] = append(cited[s], name)
					}
				}
				return true
			})
		}
		for _, c := range parsed.Comments {
			for _, n := range rule.FindAllString(c.Text(), -1) {
				cited[n] = append(cited[n], name)
			}
		}
	}
	return code, tests
}

// Each rule that the code cites is in protocol.md. Each rule of protocol.md is cited by a file of
// the root package that is not a test.
func TestCodeCitesTheRulesOfTheProtocol(t *testing.T) {
	text := documents(t)["docs/protocol.md"]
	rules := map[string]bool{}
	for _, m := range anchor.FindAllStringSubmatch(text, -1) {
		if rules[m[1]] {
			t.Errorf("protocol.md has two rules %s", m[1])
		}
		rules[m[1]] = true
	}
	if len(rules) < 100 {
		t.Errorf("protocol.md has %d rules: the text was not understood", len(rules))
	}
	for _, n := range rule.FindAllString(text, -1) {
		if !rules[n] {
			t.Errorf("protocol.md refers to %s, which is no rule of it", n)
		}
	}
	code, tests := citations(t)
	for _, cited := range []map[string][]string{code, tests} {
		for n, files := range cited {
			if !rules[n] {
				t.Errorf("%s: protocol.md has no rule %s", files[0], n)
			}
		}
	}
	for n := range rules {
		if code[n] == nil {
			t.Errorf("no file of the root package cites protocol.md %s", n)
		}
	}
}
