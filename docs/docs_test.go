// SPDX-License-Identifier: MIT

// The documents do not depend on how the tests are built: testing them once is enough.

//go:build !race && !kcpbasic && (amd64 || arm64)

package docs

import (
	"bytes"
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// root is the top of the repository as seen from here.
const root = ".."

// documents returns all texts by name from the root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root {
			return filepath.SkipDir
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		name, _ := filepath.Rel(root, path)
		texts[filepath.ToSlash(name)] = strings.ReplaceAll(string(text), "\r\n", "\n") // as a checkout on Windows may have it
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "docs/internals.md", "docs/migrating.md", "docs/protocol.md", "docs/tuning.md"} {
		if texts[name] == "" {
			t.Fatalf("%s is missing", name)
		}
	}
	return texts
}

// block is a fenced block of a document.
type block struct {
	document string
	language string
	mark     string // behind the language
	code     string
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)(?: ([^\n]*))?\n(.*?)^```$")

func blocks(t *testing.T, language string) (found []block) {
	t.Helper()
	for name, text := range documents(t) {
		if strings.Count(text, "\n```")%2 != 0 {
			t.Errorf("%s: a block does not end", name)
		}
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] == language {
				found = append(found, block{name, m[1], m[2], m[3]})
			}
		}
	}
	slices.SortFunc(found, func(a, b block) int { return strings.Compare(a.document+a.code, b.document+b.code) })
	return found
}

func goTool(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("builds programs")
	}
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command")
	}
	return tool
}

// fragmentImports are the packages that fragments may use without saying so.
var fragmentImports = map[string]string{
	"context": "context", "fmt": "fmt", "http": "net/http", "io": "io", "log": "log", "net": "net", "os": "os", "time": "time",
	"kcp": "github.com/seedkcp/kcp",
}

// fragmentNames are what fragments take for granted.
const fragmentNames = `
var (
	ctx        context.Context
	packetConn net.PacketConn
	addr       net.Addr
	block      kcp.BlockCrypt
	key        []byte
	config     *kcp.Config
	handler    http.Handler
	listener   *kcp.Listener
	buffer     []byte
)
`

// goFile makes a file of a block: a program is one already, a fragment becomes the body of a function.
func goFile(b block) string {
	if strings.HasPrefix(b.code, "package ") {
		return b.code
	}
	var file strings.Builder
	file.WriteString("package main\n\nimport (\n")
	for name, path := range fragmentImports {
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(b.code + fragmentNames) {
			file.WriteString("\t\"" + path + "\"\n")
		}
	}
	file.WriteString(")\n" + fragmentNames + "\nfunc main() {\n" + b.code + "}\n")
	return file.String()
}

// tolerated matches errors of the compiler about a fragment that shows a call and does not use its results.
var tolerated = regexp.MustCompile(`declared and not used: |no new variables on left side of :=`)

func TestGoBlocksCompile(t *testing.T) {
	tool := goTool(t)
	dir := t.TempDir()
	absolute, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	// A module like a reader's: it requires this module and what it requires.
	text := strings.Replace(string(mod), "module github.com/seedkcp/kcp\n", "module example.com/reader\n", 1) +
		"\nrequire github.com/seedkcp/kcp v0.0.0-00010101000000-000000000000\n\nreplace github.com/seedkcp/kcp => " + absolute + "\n"
	write := func(name, text string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", text)
	write("go.sum", string(sum))

	found := blocks(t, "go")
	for i, b := range found {
		switch b.mark {
		case "":
			write(filepath.Join(string(rune('a'+i)), "main.go"), goFile(b))
		case "norun":
		default:
			t.Errorf("%s: a go block is marked %q", b.document, b.mark)
		}
	}
	if len(found) < 5 || len(found) > 26 {
		t.Fatalf("%d go blocks were found", len(found))
	}
	cmd := exec.Command(tool, "build", "-o", os.DevNull, "-buildvcs=false", "-mod=mod", "-gcflags=-e", "./...")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "GOPROXY=off")
	out, err := cmd.CombinedOutput()
	if err == nil {
		return
	}
	if exit := new(exec.ExitError); !errors.As(err, &exit) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "#") || tolerated.MatchString(line) {
			continue
		}
		name, _, _ := strings.Cut(filepath.ToSlash(line), "/")
		document := "?"
		if len(name) == 1 && int(name[0]-'a') < len(found) {
			document = found[name[0]-'a'].document
		}
		t.Errorf("%s: %s", document, line)
	}
}

// shortForms maps commands that take too long for a test, or would run this one, to a shorter form that is run instead.
var shortForms = map[string]string{
	"go run ./examples/echo": "go run ./examples/echo -size 1",
	// The flood in real time needs a machine without other work.
	"go test -v -run 'TestSpoofed|TestGarbage' . -args -long":                              "go test -run TestSpoofed . -args -long",
	`go run -C cmd/kcpperf . --simulate "rtt=100ms loss=5% rate=20Mbit" --compare builtin`: `go run -C cmd/kcpperf . --simulate "rtt=10ms rate=20Mbit" -t 0.2 --compare "small: window=64; large: window=128"`,
}

func TestShellBlocksRun(t *testing.T) {
	goTool(t)
	shell, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("no shell")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	ran := 0
	for _, b := range blocks(t, "sh") {
		switch b.mark {
		case "norun":
			checkPaths(t, b)
			continue
		case "":
		default:
			t.Errorf("%s: a sh block is marked %q", b.document, b.mark)
			continue
		}
		var script strings.Builder
		script.WriteString("set -e\n")
		for line := range strings.Lines(b.code) {
			command, _, _ := strings.Cut(line, "#")
			command = strings.TrimSpace(command)
			if short, known := shortForms[command]; known {
				command = short
			}
			script.WriteString(command + "\n")
		}
		cmd := exec.CommandContext(ctx, shell, "-c", script.String())
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", b.document, err, b.code, out)
		}
		ran++
	}
	if ran == 0 {
		t.Error("no sh block was run")
	}
}

// checkPaths looks whether the files and directories that a block names with ./ are there.
func checkPaths(t *testing.T, b block) {
	t.Helper()
	for _, path := range regexp.MustCompile(`(?:^|\s)(\./[a-z][\w./-]*)`).FindAllStringSubmatch(b.code, -1) {
		if strings.HasSuffix(path[1], "...") {
			continue
		}
		if _, err := os.Stat(filepath.Join(root, path[1])); err != nil {
			t.Errorf("%s: %v", b.document, err)
		}
	}
}

// exampleCommand is a command that a document or a program's own documentation gives for a program of this repository.
var exampleCommand = regexp.MustCompile(`go run (\./(?:examples|cmd)/[a-z]+)((?: [^\n#|>` + "`" + `]*)?)`)

// The flags of every command in the documents and in the programs' own documentation are flags of
// that program.
func TestCommandsHaveTheFlagsThatAreGiven(t *testing.T) {
	tool := goTool(t)
	texts := documents(t)
	mains, err := filepath.Glob(filepath.Join(root, "examples", "*", "main.go"))
	if err != nil || len(mains) < 5 {
		t.Fatalf("%d examples, %v", len(mains), err)
	}
	for _, name := range mains {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	help := map[string]string{}
	for name, text := range texts {
		for _, m := range exampleCommand.FindAllStringSubmatch(text, -1) {
			program, args := m[1], m[2]
			if _, err := os.Stat(filepath.Join(root, program, "go.mod")); err == nil {
				t.Errorf("%s: %s is a module of its own: go run -C %s .", name, program, program)
				continue
			}
			if help[program] == "" {
				cmd := exec.Command(tool, "run", program, "-h")
				cmd.Dir = root
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%s: %s: %v\n%s", name, program, err, out)
					help[program] = " "
					continue
				}
				help[program] = string(out)
			}
			for _, flag := range regexp.MustCompile(` (-[a-z]+)`).FindAllStringSubmatch(args, -1) {
				if !strings.Contains(help[program], "\n  "+flag[1]+" ") && !strings.Contains(help[program], "\n  "+flag[1]+"\n") {
					t.Errorf("%s: %s has no flag %s", name, program, flag[1])
				}
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinksLeadSomewhere(t *testing.T) {
	for name, text := range documents(t) {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if target == "" || strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.Dir(name), target)); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, target)
			}
		}
	}
}

func TestInternalsNameWhatIsThere(t *testing.T) {
	text := documents(t)["docs/internals.md"]
	files, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{} // functions, methods and types
	names := map[string]map[string]bool{}
	for _, file := range files {
		here := map[string]bool{}
		names[filepath.Base(file)] = here
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			declare(declared, d)
			declare(here, d)
		}
	}
	identifiers := 0
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(text, -1) {
		word := m[1]
		switch {
		case strings.HasSuffix(word, ".go"):
			if names[word] == nil {
				t.Errorf("there is no file %s", word)
			}
		case regexp.MustCompile(`^\(\*?\w+\)\.\w+$`).MatchString(word), regexp.MustCompile(`^[a-z]+[A-Z]\w*$`).MatchString(word):
			identifiers++
			if !declared[word] {
				t.Errorf("nothing is called %s", word)
			}
		}
	}
	places := regexp.MustCompile("`([^`\n]+)`\\s+(?:in|from)\\s+`(\\w+\\.go)`").FindAllStringSubmatch(text, -1)
	for _, m := range places {
		if name := strings.TrimSuffix(m[1], "()"); !names[m[2]][name] {
			t.Errorf("%s is not declared in %s", name, m[2])
		}
	}
	if len(places) < 20 {
		t.Errorf("the text says of %d names where they are", len(places))
	}
	if identifiers < 40 {
		t.Errorf("the text names %d functions and types: the walk is not there", identifiers)
	}
	for _, m := range regexp.MustCompile(`\b(\w+)\*?\.go\b`).FindAllStringSubmatch(text, -1) {
		found := slices.ContainsFunc(files, func(file string) bool { return strings.HasPrefix(filepath.Base(file), m[1]) })
		if !found {
			t.Errorf("there is no file %s*.go", m[1])
		}
	}
}

// declare adds the names of a declaration, a method's as "(*T).m".
func declare(names map[string]bool, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			names[d.Name.Name] = true
			return
		}
		var b bytes.Buffer
		switch t := d.Recv.List[0].Type.(type) {
		case *ast.StarExpr:
			if id, ok := t.X.(*ast.Ident); ok {
				b.WriteString("(*" + id.Name + ").")
			}
		case *ast.Ident:
			b.WriteString("(" + t.Name + ").")
		}
		names[b.String()+d.Name.Name] = true
	case *ast.GenDecl:
		for _, s := range d.Specs {
			if s, ok := s.(*ast.TypeSpec); ok {
				names[s.Name.Name] = true
			}
		}
	}
}
