// SPDX-License-Identifier: MIT

package kcp

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/build"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A part is a room of this flat package: the files whose names begin with one of its prefixes, and
// the parts whose identifiers they may use besides their own.
type part struct {
	name  string
	files []string // prefixes of file names, up to ".go" or "_"
	uses  []string
}

// parts is the table of docs/internals.md, from the ground up. A file belongs to the part with the
// longest prefix.
var parts = []part{
	{"ground", []string{"addr", "bufferpool", "clock", "deadline", "entropy", "errors", "memory",
		"openfiles", "ringbuffer", "snmp", "timedsched", "waiters"}, nil},
	{"wire", []string{"wire", "packet_writer", "logger"}, []string{"ground"}},
	{"seam", []string{"batchconn", "readloop_linux", "tx_linux", "socket"}, []string{"ground"}},
	{"filters", []string{"fec", "crypt"}, []string{"ground", "wire"}},
	{"core", []string{"kcp"}, []string{"ground", "wire"}},
	// The settings are plain values and defaults, which whatever a Config makes reads: config.go
	// alone gives them.
	{"settings", []string{"options"}, []string{"ground", "wire", "seam", "filters", "core"}},
	{"door", []string{"demux_admit", "demux_challenge", "demux_timewait"},
		[]string{"ground", "wire"}},
	{"turn", []string{"sess_turn"}, []string{"ground", "wire", "core", "filters"}},
	{"egress", []string{"tx"}, []string{"ground", "wire", "filters", "seam", "turn"}},
	{"session", []string{"sess"},
		[]string{"ground", "wire", "filters", "core", "settings", "turn"}},
	{"routing", []string{"demux", "endpoint"}, []string{"ground", "wire", "filters", "seam",
		"settings", "door", "turn", "egress", "session"}},
	{"ingress", []string{"readloop"}, []string{"ground", "wire", "filters", "seam", "settings",
		"door", "egress", "session", "routing"}},
	{"face", []string{"config", "dial", "listener", "transport", "doc"},
		[]string{"ground", "wire", "filters", "seam", "settings", "egress", "session", "routing",
			"ingress"}},
	// The shell is the state machine as programs written for the existing Go package use it, with
	// that package's names.
	{"shell", []string{"kcp.go", "compat"}, []string{"ground", "wire", "core"}},
}

// TestPartsAreDocumented holds that the table of docs/internals.md is that of this test.
func TestPartsAreDocumented(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("docs", "internals.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		row := regexp.MustCompile(`(?m)^\| ` + p.name + ` \|[^|]*\| ([^|]*) \| ([^|]*) \|$`)
		m := row.FindSubmatch(text)
		if m == nil {
			t.Errorf("docs/internals.md has no row for the part %s", p.name)
			continue
		}
		files := strings.ReplaceAll(strings.Join(p.files, " "), ".go", "")
		uses := cmp.Or(strings.Join(p.uses, " "), "-")
		if string(m[1]) != files || string(m[2]) != uses {
			t.Errorf("docs/internals.md says of %s: %q and %q, not %q and %q",
				p.name, m[1], m[2], files, uses)
		}
	}
}

// partOf returns the part of a file.
func partOf(file string) *part {
	var found *part
	longest := 0
	for i := range parts {
		for _, prefix := range parts[i].files {
			rest, ok := strings.CutPrefix(file, prefix)
			if ok && len(prefix) > longest && (rest == "" || rest[0] == '.' || rest[0] == '_') {
				found, longest = &parts[i], len(prefix)
			}
		}
	}
	return found
}

// checked is this package as built here, parsed and type-checked once for all tests.
var checked struct {
	once  sync.Once
	pkg   *types.Package
	info  *types.Info
	fset  *token.FileSet
	files []*ast.File
}

// typeCheck returns this package as built here.
func typeCheck(t *testing.T) (*types.Package, *types.Info, *token.FileSet, []*ast.File) {
	t.Helper()
	checked.once.Do(func() {
		checked.pkg, checked.info, checked.fset, checked.files = typeCheckOnce(t)
	})
	if checked.pkg == nil {
		t.Fatal("the package could not be type-checked")
	}
	return checked.pkg, checked.info, checked.fset, checked.files
}

func typeCheckOnce(t *testing.T) (*types.Package, *types.Info, *token.FileSet, []*ast.File) {
	t.Helper()
	p, err := build.ImportDir(".", 0)
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	info := &types.Info{
		Uses:       make(map[*ast.Ident]types.Object),
		Selections: make(map[*ast.SelectorExpr]*types.Selection),
	}
	conf := types.Config{Importer: exportImporter(t, fset)}
	pkg, err := conf.Check("kcp", fset, files, info)
	if err != nil {
		t.Fatal(err)
	}
	return pkg, info, fset, files
}

// fileUses returns, for each file of this package as built here, the identifiers that it uses from
// each other file: those at package level, methods and fields.
func fileUses(t *testing.T) map[string]map[string][]string {
	t.Helper()
	pkg, info, fset, files := typeCheck(t)
	uses := make(map[string]map[string][]string)
	for _, f := range files {
		uses[fset.Position(f.Pos()).Filename] = make(map[string][]string)
	}
	for id, obj := range info.Uses {
		if obj.Pkg() != pkg || !obj.Pos().IsValid() {
			continue
		}
		if o, ok := obj.(*types.Var); obj.Parent() != pkg.Scope() &&
			!(ok && o.IsField()) && !isMethod(obj) {
			continue // local
		}
		from, to := fset.Position(id.Pos()).Filename, fset.Position(obj.Pos()).Filename
		if from != to && !slices.Contains(uses[from][to], obj.Name()) {
			uses[from][to] = append(uses[from][to], obj.Name())
		}
	}
	return uses
}

func isMethod(obj types.Object) bool {
	f, ok := obj.(*types.Func)
	return ok && f.Signature().Recv() != nil
}

// exportImporter imports what the go command has compiled.
func exportImporter(t *testing.T, fset *token.FileSet) types.Importer {
	t.Helper()
	const format = "{{if .Export}}{{.ImportPath}}\t{{.Export}}{{end}}"
	cmd := exec.Command("go", "list", "-export", "-deps", "-f", format, ".")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	exports := make(map[string]string)
	for line := range bytes.Lines(out) {
		if path, file, ok := strings.Cut(strings.TrimSpace(string(line)), "\t"); ok {
			exports[path] = file
		}
	}
	return importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) {
		return os.Open(exports[path])
	})
}

// TestLayers holds the walls between the parts of this package.
func TestLayers(t *testing.T) {
	uses := fileUses(t)
	for _, from := range slices.Sorted(maps.Keys(uses)) {
		p := partOf(from)
		if p == nil {
			t.Errorf("%s belongs to no part", from)
			continue
		}
		for _, to := range slices.Sorted(maps.Keys(uses[from])) {
			q := partOf(to)
			if q == nil || q == p || slices.Contains(p.uses, q.name) {
				continue
			}
			slices.Sort(uses[from][to])
			t.Errorf("%s (%s) uses of %s (%s): %s",
				from, p.name, to, q.name, strings.Join(uses[from][to], ", "))
		}
	}
}

// largestCycle is the most files that may use each other in a circle.
const largestCycle = 16

// TestFileCycles holds that no cycle of files crosses a part, and that none is large.
func TestFileCycles(t *testing.T) {
	for _, files := range cycles(fileUses(t)) {
		slices.Sort(files)
		t.Logf("%d files: %s", len(files), strings.Join(files, " "))
		if len(files) > largestCycle {
			t.Errorf("a cycle of %d files, at most %d", len(files), largestCycle)
		}
		for _, f := range files[1:] {
			if a, b := partOf(files[0]), partOf(f); a != b {
				t.Errorf("the cycle crosses parts: %s and %s", files[0], f)
				break
			}
		}
	}
}

// cycles returns the strongly connected components of more than one file, the largest first (Tarjan
// 1972).
func cycles(uses map[string]map[string][]string) [][]string {
	type state struct {
		index, low int
		on         bool
	}
	var (
		found [][]string
		stack []string
		nodes = make(map[string]*state)
		visit func(file string) *state
	)
	visit = func(file string) *state {
		n := &state{index: len(nodes), low: len(nodes), on: true}
		nodes[file] = n
		stack = append(stack, file)
		for _, to := range slices.Sorted(maps.Keys(uses[file])) {
			if m := nodes[to]; m == nil {
				n.low = min(n.low, visit(to).low)
			} else if m.on {
				n.low = min(n.low, m.index)
			}
		}
		if n.low == n.index {
			i := slices.Index(stack, file)
			component := slices.Clone(stack[i:])
			stack = stack[:i]
			for _, f := range component {
				nodes[f].on = false
			}
			if len(component) > 1 {
				found = append(found, component)
			}
		}
		return n
	}
	for _, file := range slices.Sorted(maps.Keys(uses)) {
		if nodes[file] == nil {
			visit(file)
		}
	}
	slices.SortFunc(found, func(a, b []string) int { return cmp.Compare(len(b), len(a)) })
	return found
}

// TestFileCyclesAreFound checks the measure itself.
func TestFileCyclesAreFound(t *testing.T) {
	uses := map[string]map[string][]string{
		"a": {"b": nil}, "b": {"c": nil}, "c": {"a": nil, "d": nil},
		"d": {"e": nil}, "e": {"d": nil}, "f": {"a": nil},
	}
	got := cycles(uses)
	if len(got) != 2 || len(got[0]) != 3 || len(got[1]) != 2 {
		t.Errorf("cycles %v, want a b c and d e", got)
	}
}

// booleansMost is the most boolean fields of structs in the package, those of Config and Stats
// among them.
const booleansMost = 39

// TestBooleanFields holds the number of boolean fields: a state machine is a type with named
// states.
func TestBooleanFields(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			s, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			for _, field := range s.Fields.List {
				if fmt.Sprint(field.Type) == "bool" {
					count += max(1, len(field.Names))
				}
			}
			return true
		})
	}
	t.Logf("%d boolean fields", count)
	if count > booleansMost {
		t.Errorf("%d boolean fields, at most %d: use named states", count, booleansMost)
	}
}

// fieldWriters returns, for each struct type of this package, the files that assign to its fields:
// "field" in "file".
func fieldWriters(t *testing.T) map[string]map[string][]string {
	t.Helper()
	pkg, info, fset, files := typeCheck(t)
	writers := make(map[string]map[string][]string)
	note := func(e ast.Expr) {
		for {
			switch x := e.(type) {
			case *ast.IndexExpr:
				e = x.X
				continue
			case *ast.ParenExpr:
				e = x.X
				continue
			case *ast.StarExpr:
				e = x.X
				continue
			case *ast.SelectorExpr:
				sel := info.Selections[x]
				if sel == nil || sel.Kind() != types.FieldVal {
					return
				}
				owner := sel.Recv()
				if p, ok := owner.(*types.Pointer); ok {
					owner = p.Elem()
				}
				// A field that an embedded struct brings along is that struct's.
				for _, i := range sel.Index()[:len(sel.Index())-1] {
					owner = owner.Underlying().(*types.Struct).Field(i).Type()
				}
				if n, ok := owner.(*types.Named); ok && n.Obj().Pkg() == pkg {
					m := writers[n.Obj().Name()]
					if m == nil {
						m = make(map[string][]string)
						writers[n.Obj().Name()] = m
					}
					file := fset.Position(x.Pos()).Filename
					if !slices.Contains(m[file], x.Sel.Name) {
						m[file] = append(m[file], x.Sel.Name)
					}
				}
			}
			return
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.AssignStmt:
				for _, e := range x.Lhs {
					note(e)
				}
			case *ast.IncDecStmt:
				note(x.X)
			}
			return true
		})
	}
	return writers
}

// writers are the files that may assign to the fields of a central type: those whose names begin
// with a prefix, and so many of them at most.
var writers = []struct {
	owner string
	files string // prefixes
	most  int
}{
	{"UDPSession", "sess", 8},
	{"core", "kcp_core kcp_validation", 3},
	{"sender", "kcp_send kcp_loss kcp_transmit", 5},
	{"receiver", "kcp_rec kcp_ack kcp_slab", 5},
	{"extension", "kcp_extension kcp_challenge", 2},
	{"liveness", "kcp_liveness", 1},
	{"addressCheck", "kcp_validation", 1},
	{"proofDuty", "kcp_validation_dialled", 1},
}

// TestFieldWriters holds that the fields of the central types are assigned in their own files
// alone.
func TestFieldWriters(t *testing.T) {
	found := fieldWriters(t)
	for _, w := range writers {
		files := found[w.owner]
		t.Logf("%s: fields assigned in %d files", w.owner, len(files))
		if len(files) == 0 || len(files) > w.most {
			t.Errorf("%s: fields are assigned in %d files, at most %d", w.owner, len(files), w.most)
		}
		for _, file := range slices.Sorted(maps.Keys(files)) {
			own := func(prefix string) bool { return strings.HasPrefix(file, prefix) }
			if !slices.ContainsFunc(strings.Fields(w.files), own) {
				t.Errorf("%s assigns to fields of %s: %s",
					file, w.owner, strings.Join(files[file], ", "))
			}
		}
	}
}
