// SPDX-License-Identifier: MIT

//go:build !race && !kcpbasic && (amd64 || arm64)

package docs

import (
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// tidy lists the files that keep to the rules of CONTRIBUTING.md, "English", as patterns from the
// root. It may only grow.
var tidy = []string{
	"*.go",
	"*.md",
	"cmd/*/README.md",
	"docs/internals.md",
	"docs/migrating.md",
	"docs/performance.md",
	"docs/programs.md",
	"docs/protocol.md",
	"docs/tables.md",
	"docs/tracing.md",
	"docs/tuning.md",
	"docs/anchors_test.go",
	"docs/tidy_test.go",
	"wireshark/README.md",
}

// plain lists the files that keep to the words alone. It may only grow.
var plain = []string{
	"api/*.go", "bench/*.go", "bench/*/*.go", "cmd/*/*.go", "docs/*.go", "examples/*/*.go",
	"examples/*/*/*.go", "internal/*/*.go", "wireshark/*.go",
}

// columnsMost is the length of a line, with a tab as four columns.
const columnsMost = 100

// banned matches words that CONTRIBUTING.md, "English", replaces. A "who" is bare if it begins a
// sentence or follows a word that is no noun.
var banned = regexp.MustCompile(`(?i)\b(?:anew|heed(?:s|ed|ing)?|as ever|(?:is|are|be) of use|` +
	`deployed (?:peer|listener|sender|receiver|implementation)s?|` +
	`strangers?|newcomers?|vouch(?:es|ed|ing)?|rivals?|dearest|patience|` +
	`(?:hold|holds|held|holding) up|(?:let|lets) go of|` +
	`read role|told window|takes? its leave|without a word|` +
	`(?:of|to|for|by|from|with|than|and|or|as|if|when|where|that|whether) who)\b|` +
	`(?:^|[.:;(] )Who (?:is|has|does|can|waits|sends|reads|writes|asks|gets|knows|holds|begins)\b`)

// proseOf returns a document without its blocks and headings, or the comments of a Go file.
func proseOf(t *testing.T, name, text string) string {
	t.Helper()
	if !strings.HasSuffix(name, ".go") {
		prose := generated.ReplaceAllString(fence.ReplaceAllString(text, ""), "")
		return regexp.MustCompile(`(?m)^#.*$`).ReplaceAllString(prose, "\n.")
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text,
		parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, c := range file.Comments {
		b.WriteString(c.Text() + " . ")
	}
	return b.String()
}

// generated is what a program writes into a document.
var generated = regexp.MustCompile(`(?s)<!-- \w+: begin -->.*?<!-- \w+: end -->`)

// tooLong returns the numbers of the lines with too many columns. Tables, output and what a program
// has written have no limit, nor has a line that is a single word.
func tooLong(name, text string) (lines []int) {
	document := !strings.HasSuffix(name, ".go")
	block, inGenerated := "", false // the line that has begun the block
	for i, line := range strings.Split(text, "\n") {
		switch {
		case !document:
		case strings.HasPrefix(line, "```") && block == "":
			block = line
		case strings.HasPrefix(line, "```"):
			block = ""
		case strings.HasSuffix(line, ": begin -->"):
			inGenerated = true
		case strings.HasSuffix(line, ": end -->"):
			inGenerated = false
		}
		exempt := document && strings.HasPrefix(strings.TrimLeft(line, " "), "|") ||
			block != "" && !strings.HasPrefix(block, "```go") ||
			inGenerated || !strings.Contains(strings.TrimSpace(line), " ")
		columns := utf8.RuneCountInString(strings.ReplaceAll(line, "\t", "    "))
		if columns > columnsMost && !exempt {
			lines = append(lines, i+1)
		}
	}
	return lines
}

func TestDocumentsAreTidy(t *testing.T) {
	for name, text := range matching(t, tidy) {
		for _, line := range tooLong(name, text) {
			t.Errorf("%s:%d: more than %d columns", name, line, columnsMost)
		}
	}
	files := matching(t, slices.Concat(tidy, plain))
	for name, text := range files {
		prose := strings.Join(strings.Fields(proseOf(t, name, text)), " ")
		for _, at := range banned.FindAllStringIndex(prose, -1) {
			t.Errorf("%s: %q in ...%s...", name, prose[at[0]:at[1]],
				prose[max(0, at[0]-30):min(len(prose), at[1]+30)])
		}
	}
	if len(files) < 100 {
		t.Errorf("%d files were looked at", len(files))
	}
}

// matching returns the files of the patterns by name.
func matching(t *testing.T, patterns []string) map[string]string {
	t.Helper()
	texts := map[string]string{}
	for _, pattern := range patterns {
		names, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(names) == 0 {
			t.Errorf("nothing is called %s (%v)", pattern, err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			texts[name] = strings.ReplaceAll(string(b), "\r\n", "\n")
		}
	}
	return texts
}

// testsOfNoSource lists the test files of the root that are named for no source file, and why.
var testsOfNoSource = map[string]string{
	"api_pin":         "the exported names of all files",
	"example":         "an example of the whole package",
	"example_session": "examples of the whole package",
	"layers":          "the order of all files",
	"protocol_doc":    "the bytes in docs/protocol.md",
	"readme":          "the programs in README.md",
}

// sourceOf returns the source file that a test file is named for: its own name or one that ends
// before an underscore, as sess.go for sess_load_test.go. It returns "" for none.
func sourceOf(test string, exists func(name string) bool) string {
	for name := strings.TrimSuffix(test, "_test.go"); name != ""; {
		if exists(name + ".go") {
			return name + ".go"
		}
		name = name[:max(0, strings.LastIndexByte(name, '_'))]
	}
	return ""
}

// Files that begin with harness_ hold what tests share, and no test but TestMain. Every other test
// file is named for the source file that it tests.
func TestTestFilesAreNamedForTheirSource(t *testing.T) {
	names, err := filepath.Glob(filepath.Join(root, "*_test.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no test files: %v", err)
	}
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, name))
		return err == nil
	}
	test := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark|Example)\w*)\(`)
	unused := maps.Clone(testsOfNoSource)
	for _, path := range names {
		name := filepath.Base(path)
		delete(unused, strings.TrimSuffix(name, "_test.go"))
		if !strings.HasPrefix(name, "harness_") {
			reason := testsOfNoSource[strings.TrimSuffix(name, "_test.go")]
			if source := sourceOf(name, exists); (source == "") != (reason != "") {
				t.Errorf("%s is named for source %q, and an exception for %q", name, source, reason)
			}
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range test.FindAllStringSubmatch(string(text), -1) {
			if found[1] != "TestMain" {
				t.Errorf("%s holds %s", name, found[1])
			}
		}
	}
	for name := range unused {
		t.Errorf("there is no %s_test.go", name)
	}
}

func TestSourceOfATestFile(t *testing.T) {
	exists := func(name string) bool { return name == "sess.go" || name == "sess_wait.go" }
	for test, want := range map[string]string{
		"sess_test.go": "sess.go", "sess_load_test.go": "sess.go", "load_test.go": "",
		"sess_wait_test.go": "sess_wait.go", "sess_wait_linux_test.go": "sess_wait.go",
		"session_test.go": "",
	} {
		if got := sourceOf(test, exists); got != want {
			t.Errorf("%s is named for %q, want %q", test, got, want)
		}
	}
}

// The rules find what they are for.
func TestTidyFindsWhatIsNot(t *testing.T) {
	for text, want := range map[string]bool{
		"it is read anew":                     true,
		"It is sent to who asks":              true,
		"Done. Who is there gets it":          true,
		"a peer that holds up others":         true,
		"an attacker who can change packets":  false,
		"whoever is there gets it":            false,
		"the upper bound holds. Upper values": false,
	} {
		if got := banned.MatchString(text); got != want {
			t.Errorf("%q: found %v, want %v", text, got, want)
		}
	}
	long := strings.Repeat("long line ", 11)
	text := "short\n" + long + "\n```\n" + long + "\n```\n| " + long + "|\n" + long + "\n"
	if got := tooLong("x.md", text); len(got) != 2 || got[0] != 2 || got[1] != 7 {
		t.Errorf("lines %v are too long, want 2 and 7", got)
	}
	if got := tooLong("x.go", "\t"+long[:98]); len(got) != 1 {
		t.Error("a tab counts as less than four columns")
	}
}
