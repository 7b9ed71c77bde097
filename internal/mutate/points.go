// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// program is the package under test, with its types.
type program struct {
	dir   string
	fset  *token.FileSet
	files map[string]*ast.File // by name
	text  map[string][]byte
	info  *types.Info
	pkg   *types.Package
}

// A point is an expression or a statement with mutants, of which one is active at a time.
type point struct {
	file     string
	function string
	node     ast.Node
	pos      token.Position
	result   string // the type of an expression, empty for a statement
	mutants  []mutant
}

type mutant struct {
	id       int // from 1
	point    *point
	from, to token.Token
	text     string // as it replaces the node
	original string
}

func (m mutant) String() string {
	return fmt.Sprintf("%s:%d:%d: %s: %s", m.point.file, m.point.pos.Line, m.point.pos.Column, m.point.function, m.change())
}

// change names the change without its place.
func (m mutant) change() string {
	return fmt.Sprintf("%s => %s", oneLine(m.original), oneLine(m.text))
}

func oneLine(s string) string {
	return string(bytes.Join(bytes.Fields([]byte(s)), []byte{' '}))
}

// operators has what each operator becomes.
var operators = map[token.Token][]token.Token{
	token.LSS:  {token.LEQ, token.GEQ},
	token.LEQ:  {token.LSS, token.GTR},
	token.GTR:  {token.GEQ, token.LEQ},
	token.GEQ:  {token.GTR, token.LSS},
	token.EQL:  {token.NEQ},
	token.NEQ:  {token.EQL},
	token.LAND: {token.LOR},
	token.LOR:  {token.LAND},
	token.ADD:  {token.SUB},
	token.SUB:  {token.ADD},
	token.MUL:  {token.QUO},
	token.QUO:  {token.MUL},
	token.REM:  {token.MUL},
	token.AND:  {token.OR},
	token.OR:   {token.AND},
	token.XOR:  {token.OR},
	token.SHL:  {token.SHR},
	token.SHR:  {token.SHL},

	token.INC:        {token.DEC},
	token.DEC:        {token.INC},
	token.ADD_ASSIGN: {token.SUB_ASSIGN},
	token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.MUL_ASSIGN: {token.QUO_ASSIGN},
	token.QUO_ASSIGN: {token.MUL_ASSIGN},
	token.REM_ASSIGN: {token.MUL_ASSIGN},
	token.AND_ASSIGN: {token.OR_ASSIGN},
	token.OR_ASSIGN:  {token.AND_ASSIGN},
	token.XOR_ASSIGN: {token.OR_ASSIGN},
	token.SHL_ASSIGN: {token.SHR_ASSIGN},
	token.SHR_ASSIGN: {token.SHL_ASSIGN},
}

// load parses and type-checks the package in dir. The types of what it imports come from the
// compiler's export data, which go list names.
func load(ctx context.Context, dir string) (*program, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-deps", "-export", "-json=ImportPath,Export,GoFiles,Dir,DepOnly", ".")
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	p := &program{fset: token.NewFileSet(), files: map[string]*ast.File{}, text: map[string][]byte{}}
	var files []*ast.File
	var path string
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l struct {
			ImportPath, Export, Dir string
			GoFiles                 []string
			DepOnly                 bool
		}
		if err := dec.Decode(&l); err == io.EOF {
			break
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		exports[l.ImportPath] = l.Export
		if l.DepOnly {
			continue
		}
		path, p.dir = l.ImportPath, l.Dir
		for _, name := range l.GoFiles {
			file, err := p.parse(name)
			if err != nil {
				return nil, err
			}
			files = append(files, file)
		}
	}
	lookup := func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data for %s", path)
		}
		return os.Open(exports[path])
	}
	p.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Implicits: map[ast.Node]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(p.fset, "gc", lookup)}
	p.pkg, err = config.Check(path, p.fset, files, p.info)
	return p, err
}

func (p *program) parse(name string) (*ast.File, error) {
	text, err := os.ReadFile(filepath.Join(p.dir, name))
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(p.fset, filepath.Join(p.dir, name), text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	p.files[name], p.text[name] = file, text
	return file, nil
}

// points returns the places in the files that have mutants, outer ones before those inside them.
// Files of other systems are left out.
func (p *program) points(names []string) ([]*point, error) {
	var points []*point
	next := 1
	for _, name := range names {
		file := p.files[name]
		if file == nil {
			continue
		}
		for _, decl := range file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			ast.Inspect(f.Body, func(n ast.Node) bool {
				pt := p.point(name, f, n)
				if pt == nil {
					return true
				}
				for i := range pt.mutants {
					pt.mutants[i].id, pt.mutants[i].point = next, pt
					next++
				}
				points = append(points, pt)
				return true
			})
		}
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("no mutants in %q as built on this system", names)
	}
	return points, nil
}

// point returns the mutants of one node, or nil.
func (p *program) point(name string, f *ast.FuncDecl, n ast.Node) *point {
	pt := &point{file: name, function: functionName(f), node: n}
	switch n := n.(type) {
	case *ast.BinaryExpr:
		tv := p.info.Types[n]
		if tv.Value != nil || isString(p.info.Types[n.X].Type) && isArithmetic(n.Op) {
			return nil
		}
		if pt.result = p.typeName(name, tv.Type); pt.result == "" {
			return nil
		}
		pt.pos = p.fset.Position(n.OpPos)
		p.replaceOperator(pt, n.Op, n.OpPos)
	case *ast.UnaryExpr:
		if n.Op != token.NOT {
			return nil
		}
		pt.result, pt.pos = "bool", p.fset.Position(n.OpPos)
		pt.mutants = []mutant{{from: token.NOT, original: p.source(name, n), text: p.source(name, n.X)}}
	case *ast.IncDecStmt:
		pt.pos = p.fset.Position(n.TokPos)
		p.replaceOperator(pt, n.Tok, n.TokPos)
	case *ast.AssignStmt:
		if len(operators[n.Tok]) == 0 || isString(p.info.Types[n.Lhs[0]].Type) {
			return nil
		}
		pt.pos = p.fset.Position(n.TokPos)
		p.replaceOperator(pt, n.Tok, n.TokPos)
	}
	if len(pt.mutants) == 0 {
		return nil
	}
	return pt
}

// replaceOperator adds a mutant for each operator that may take the place of op at pos.
func (p *program) replaceOperator(pt *point, op token.Token, pos token.Pos) {
	start, at := p.offset(pt.node.Pos()), p.offset(pos)
	original := p.source(pt.file, pt.node)
	for _, other := range operators[op] {
		if b, ok := pt.node.(*ast.BinaryExpr); ok && other == token.QUO && p.isZero(b.Y) {
			continue // does not compile
		}
		text := original[:at-start] + other.String() + original[at-start+len(op.String()):]
		pt.mutants = append(pt.mutants, mutant{from: op, to: other, original: original, text: text})
	}
}

func (p *program) isZero(e ast.Expr) bool {
	v := p.info.Types[e].Value
	return v != nil && v.String() == "0"
}

func (p *program) offset(pos token.Pos) int { return p.fset.Position(pos).Offset }

func (p *program) source(name string, n ast.Node) string {
	return string(p.text[name][p.offset(n.Pos()):p.offset(n.End())])
}

// typeName returns the type as the file can name it, or "" if it cannot.
func (p *program) typeName(name string, t types.Type) string {
	if b, ok := t.(*types.Basic); ok && b.Kind() == types.UntypedBool {
		return "bool"
	}
	imported := true
	text := types.TypeString(t, func(other *types.Package) string {
		if other == p.pkg {
			return ""
		}
		for _, spec := range p.files[name].Imports {
			if spec.Path.Value == `"`+other.Path()+`"` && spec.Name == nil {
				return other.Name()
			}
		}
		imported = false
		return other.Name()
	})
	if b, ok := t.(*types.Basic); !imported || ok && b.Info()&types.IsUntyped != 0 {
		return ""
	}
	return text
}

func isString(t types.Type) bool {
	if t == nil {
		return false
	}
	b, ok := t.Underlying().(*types.Basic)
	return ok && b.Info()&types.IsString != 0
}

func isArithmetic(op token.Token) bool {
	switch op {
	case token.LSS, token.LEQ, token.GTR, token.GEQ, token.EQL, token.NEQ, token.LAND, token.LOR:
		return false
	}
	return true
}

func functionName(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return f.Name.Name
	}
	return "(" + types.ExprString(f.Recv.List[0].Type) + ")." + f.Name.Name
}

func mutantsOf(points []*point) []mutant {
	var all []mutant
	for _, pt := range points {
		all = append(all, pt.mutants...)
	}
	return all
}
