// SPDX-License-Identifier: MIT

//go:build !race && !kcpbasic && (amd64 || arm64)

package docs

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// packageDoc is the documentation of the library as godoc sees it on this system, without what is
// for tests only.
func packageDoc(t *testing.T) *doc.Package {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_debug.go") { // built with the tag kcpdebug alone
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, "github.com/seedkcp/kcp")
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryExportedNameIsDocumented(t *testing.T) {
	p := packageDoc(t)
	count := 0
	check := func(name, text string) {
		count++
		short := name[strings.LastIndexByte(name, '.')+1:]
		if !strings.HasPrefix(text, short+" ") {
			t.Errorf("the comment of %s does not begin with its name: %.40q", name, text)
		}
	}
	values := func(vs []*doc.Value) {
		for _, v := range vs {
			if v.Doc == "" && len(v.Names) > 1 {
				for _, spec := range v.Decl.Specs {
					if s := spec.(*ast.ValueSpec); s.Comment == nil && s.Doc == nil {
						t.Errorf("%s has no comment, nor has its group", s.Names[0])
					}
				}
			} else if len(v.Names) == 1 {
				check(v.Names[0], v.Doc)
			}
		}
	}
	values(p.Consts)
	values(p.Vars)
	for _, f := range p.Funcs {
		check(f.Name, f.Doc)
	}
	for _, typ := range p.Types {
		check(typ.Name, typ.Doc)
		values(typ.Consts)
		values(typ.Vars)
		for _, f := range typ.Funcs {
			check(f.Name, f.Doc)
		}
		for _, m := range typ.Methods {
			check(typ.Name+"."+m.Name, m.Doc)
		}
	}
	if count < 130 {
		t.Errorf("%d names were looked at, want the whole package", count)
	}
}

// The comment of each setting gives the meaning of its zero value. Each setting is in README.md.
func TestEveryFieldOfConfigSaysItsDefault(t *testing.T) {
	readme := documents(t)["README.md"]
	for _, typ := range packageDoc(t).Types {
		if typ.Name != "Config" {
			continue
		}
		fields := typ.Decl.Specs[0].(*ast.TypeSpec).Type.(*ast.StructType).Fields.List
		for _, f := range fields {
			text := f.Doc.Text()
			isBool := false
			if id, ok := f.Type.(*ast.Ident); ok {
				isBool = id.Name == "bool"
			}
			for _, name := range f.Names {
				if !strings.Contains(text, name.Name) {
					t.Errorf("the comment of %s does not name it", name)
				}
				if !strings.Contains(readme, "`"+name.Name+"`") {
					t.Errorf("README.md does not tell of Config.%s", name)
				}
			}
			said := strings.Contains(text, "efault") || strings.Contains(text, "nil ") || strings.Contains(text, "0 is ")
			if !said && !isBool { // false is the absence of what a bool stands for
				t.Errorf("%s does not say its default", f.Names[0])
			}
		}
		if len(fields) < 15 {
			t.Errorf("Config has %d fields, want all", len(fields))
		}
		return
	}
	t.Error("there is no Config")
}

// The package's comment names every constructor or its type.
func TestPackageCommentNamesTheConstructors(t *testing.T) {
	p := packageDoc(t)
	for _, typ := range p.Types {
		for _, f := range typ.Funcs {
			named := strings.Contains(p.Doc, "["+f.Name+"]") || strings.Contains(p.Doc, "["+typ.Name+"]")
			if !named && !strings.HasPrefix(f.Name, "NewConn") {
				t.Errorf("neither %s nor %s is in the map", f.Name, typ.Name)
			}
		}
	}
}
