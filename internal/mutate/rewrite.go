// SPDX-License-Identifier: MIT

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// support is compiled into the package. mutateHit reports whether a mutant is the active one. With
// MUTATE_RECORD set it appends the number of each mutant that is reached to that file, once.
const support = `package %s

import (
	mutateOS "os"
	mutateStrconv "strconv"
	mutateAtomic "sync/atomic"
)

var (
	mutateActive, _ = mutateStrconv.Atoi(mutateOS.Getenv("MUTATE"))
	mutateReached   [%d]mutateAtomic.Bool
	mutateRecord    = func() *mutateOS.File {
		if name := mutateOS.Getenv("MUTATE_RECORD"); name != "" {
			if f, err := mutateOS.OpenFile(name, mutateOS.O_APPEND|mutateOS.O_CREATE|mutateOS.O_WRONLY, 0o600); err == nil {
				return f
			}
		}
		return nil
	}()
)

func mutateHit(id int) bool {
	if mutateRecord != nil && !mutateReached[id].Swap(true) {
		mutateRecord.WriteString(mutateStrconv.Itoa(id) + "\n")
	}
	return mutateActive == id
}
`

// build compiles the tests with all the mutants and returns the binary's name. The tree stays as
// it is: the changed files are an overlay.
func (p *program) build(ctx context.Context, scratch string, points []*point) (string, error) {
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	add := func(name, text string) error {
		copied := filepath.Join(scratch, name)
		overlay.Replace[filepath.Join(p.dir, name)] = copied
		return os.WriteFile(copied, []byte(text), 0o600)
	}
	byFile := map[string][]*point{}
	for _, pt := range points {
		byFile[pt.file] = append(byFile[pt.file], pt)
	}
	for name, of := range byFile {
		if err := add(name, p.rewrite(name, of)); err != nil {
			return "", err
		}
	}
	if err := add("mutate_support.go", fmt.Sprintf(support, p.pkg.Name(), len(mutantsOf(points))+1)); err != nil {
		return "", err
	}
	list := filepath.Join(scratch, "overlay.json")
	data, err := json.Marshal(overlay)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(list, data, 0o600); err != nil {
		return "", err
	}
	binary := filepath.Join(scratch, "package.test")
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-overlay", list, "-o", binary, ".")
	cmd.Dir = p.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go test -c: %w\n%s", err, out)
	}
	return binary, nil
}

// rewrite returns the file's text with its points as functions that ask which mutant is active.
// The text of a mutant holds no further mutants, as only one is active: so the file grows by no
// more than the depth of its expressions.
func (p *program) rewrite(name string, points []*point) string {
	text := p.text[name]
	points = slices.Clone(points)
	var render func(from, to int, inside []*point) string
	render = func(from, to int, inside []*point) string {
		var b strings.Builder
		for len(inside) > 0 {
			pt := inside[0]
			start, end := p.offset(pt.node.Pos()), p.offset(pt.node.End())
			n := 1
			for n < len(inside) && p.offset(inside[n].node.Pos()) < end {
				n++
			}
			b.Write(text[from:start])
			b.WriteString(pt.wrap(render(start, end, inside[1:n])))
			from, inside = end, inside[n:]
		}
		b.Write(text[from:to])
		return b.String()
	}
	return render(0, len(text), points)
}

// wrap returns the point's node, whose text with the mutants inside it is inner, as a call that
// takes the active mutant in its place.
func (pt *point) wrap(inner string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "func() %s { switch {", pt.result)
	do := "return "
	if pt.result == "" {
		do = ""
	}
	for _, m := range pt.mutants {
		fmt.Fprintf(&b, " case mutateHit(%d): %s%s;", m.id, do, m.text)
	}
	if pt.result == "" {
		fmt.Fprintf(&b, " default: %s } }()", inner)
	} else {
		fmt.Fprintf(&b, " }; return %s }()", inner)
	}
	return b.String()
}

// kind names the class of the mutant.
func (m mutant) kind() string {
	switch m.from {
	case token.LAND, token.LOR, token.NOT, token.EQL, token.NEQ:
		return "condition"
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		return "boundary"
	}
	return "arithmetic"
}
