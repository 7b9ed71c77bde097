// SPDX-License-Identifier: MIT

package main

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"strconv"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/packages"
)

// describe returns the text of the API of the package in dir.
func describe(dir string) ([]byte, error) {
	p, err := load(dir, nil)
	if err != nil {
		return nil, err
	}
	return render(p.root)
}

// compare returns what in dir breaks with the API in the file, and what was
// added to it.
func compare(dir, file string) (breaking, added []string, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, err
	}
	fset := token.NewFileSet()
	syntax, err := parser.ParseFile(fset, file, text, 0)
	if err != nil {
		return nil, nil, err
	}
	var imports []string
	for _, spec := range syntax.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, nil, err
		}
		imports = append(imports, path)
	}
	p, err := load(dir, imports)
	if err != nil {
		return nil, nil, err
	}
	conf := types.Config{Importer: p, IgnoreFuncBodies: true}
	old, err := conf.Check(p.root.Path(), fset, []*ast.File{syntax}, nil)
	if err != nil {
		return nil, nil, err
	}
	for _, c := range apidiff.Changes(old, p.root).Changes {
		if c.Compatible {
			added = append(added, c.Message)
		} else {
			breaking = append(breaking, c.Message)
		}
	}
	return breaking, added, nil
}

// loaded is a package and those that it, or its description, imports. It is
// the importer of the description, whose types thereby are the package's own.
type loaded struct {
	root *types.Package
	all  map[string]*types.Package
}

func (l *loaded) Import(path string) (*types.Package, error) {
	if p := l.all[path]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("package %s is not there", path)
}

func load(dir string, imports []string) (*loaded, error) {
	conf := &packages.Config{
		Dir:  dir,
		Mode: packages.NeedName | packages.NeedImports | packages.NeedDeps | packages.NeedTypes | packages.NeedExportFile,
	}
	pkgs, err := packages.Load(conf, append([]string{"."}, imports...)...)
	if err != nil {
		return nil, err
	}
	l := &loaded{all: map[string]*types.Package{}}
	var failures []error
	packages.Visit(pkgs, nil, func(p *packages.Package) {
		for _, e := range p.Errors {
			failures = append(failures, e)
		}
		l.all[p.PkgPath] = p.Types
		if p.Name == "kcp" && l.root == nil {
			l.root = p.Types
		}
	})
	if err := errors.Join(failures...); err != nil {
		return nil, err
	}
	if l.root == nil {
		return nil, fmt.Errorf("no package kcp in %s", dir)
	}
	return l, nil
}
