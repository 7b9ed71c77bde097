// SPDX-License-Identifier: MIT

package main

import (
	"bytes"
	"fmt"
	"go/format"
	"go/types"
	"maps"
	"slices"
	"strings"
)

// renderer writes a package's API as sorted declarations without bodies, in the syntax of Go. So it
// can be read, compared line by line, and checked.
type renderer struct {
	pkg     *types.Package
	imports map[string]bool
	pending []*types.TypeName // types to declare: the exported ones and what their declarations name
	known   map[*types.TypeName]bool
	out     []string
}

const header = "// SPDX-License-Identifier: MIT\n\n" +
	"// The exported API that programs may rely on, written by 'go run . -w' in this directory.\n\n"

// genericBody: go/types does without the body of a function, but not if that
// is generic.
const genericBody = " {}"

func render(pkg *types.Package) ([]byte, error) {
	r := &renderer{pkg: pkg, imports: map[string]bool{}, known: map[*types.TypeName]bool{}}
	scope := pkg.Scope()
	for _, name := range scope.Names() {
		o := scope.Lookup(name)
		if !o.Exported() {
			continue
		}
		switch o := o.(type) {
		case *types.TypeName:
			r.want(o)
		case *types.Const:
			r.constant(o)
		case *types.Var:
			r.add("var %s %s", name, r.text(o.Type()))
		case *types.Func:
			r.function(o)
		}
	}
	for len(r.pending) > 0 {
		o := r.pending[0]
		r.pending = r.pending[1:]
		r.declare(o)
	}
	slices.Sort(r.out)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%spackage %s\n\nimport (\n", header, pkg.Name())
	for _, path := range slices.Sorted(maps.Keys(r.imports)) {
		fmt.Fprintf(&b, "%q\n", path)
	}
	fmt.Fprintf(&b, ")\n\n%s\n", strings.Join(r.out, "\n"))
	return format.Source(b.Bytes())
}

func (r *renderer) add(format string, args ...any) {
	r.out = append(r.out, fmt.Sprintf(format, args...))
}

// want adds a type to those to be declared.
func (r *renderer) want(o *types.TypeName) {
	if !r.known[o] {
		r.known[o] = true
		r.pending = append(r.pending, o)
	}
}

// text returns a type as the description names it, and has declared and
// imported what that needs.
func (r *renderer) text(t types.Type) string {
	r.findNames(t)
	return types.TypeString(t, func(p *types.Package) string {
		if p == r.pkg {
			return ""
		}
		r.imports[p.Path()] = true
		return p.Name()
	})
}

// signature returns the parameters and results of a function or method.
func (r *renderer) signature(f *types.Func) string {
	return strings.TrimPrefix(r.text(f.Type()), "func")
}

func (r *renderer) function(f *types.Func) {
	body := ""
	if f.Signature().TypeParams() != nil {
		body = genericBody
	}
	r.add("func %s%s%s", f.Name(), r.signature(f), body)
}

// constant writes a constant with its value, which programs may use in types.
func (r *renderer) constant(o *types.Const) {
	typ := ""
	if b, ok := o.Type().(*types.Basic); !ok || b.Info()&types.IsUntyped == 0 {
		typ = r.text(o.Type()) + " "
	}
	r.add("const %s %s= %s", o.Name(), typ, o.Val().ExactString())
}

func (r *renderer) declare(o *types.TypeName) {
	if o.IsAlias() {
		r.add("type %s = %s", o.Name(), r.text(types.Unalias(o.Type())))
		return
	}
	named := o.Type().(*types.Named)
	params := r.typeParams(named)
	switch u := named.Underlying().(type) {
	case *types.Struct:
		r.add("type %s%s struct {\n%s}", o.Name(), params, r.fields(u))
	default:
		r.add("type %s%s %s", o.Name(), params, r.text(u))
	}
	if types.IsInterface(named) {
		return
	}
	receiver, body := o.Name(), ""
	if p := named.TypeParams(); p != nil {
		body = genericBody

		var names []string
		for t := range p.TypeParams() {
			names = append(names, t.Obj().Name())
		}
		receiver += "[" + strings.Join(names, ", ") + "]"
	}
	for m := range named.Methods() {
		if !m.Exported() {
			continue
		}
		star := ""
		if _, ok := m.Signature().Recv().Type().(*types.Pointer); ok {
			star = "*"
		}
		r.add("func (%s%s) %s%s%s", star, receiver, m.Name(), r.signature(m), body)
	}
}

func (r *renderer) typeParams(named *types.Named) string {
	p := named.TypeParams()
	if p == nil {
		return ""
	}
	var list []string
	for t := range p.TypeParams() {
		list = append(list, t.Obj().Name()+" "+r.text(t.Constraint()))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// fields returns the exported fields of a struct. One field replaces the others and shows whether
// its values are comparable.
func (r *renderer) fields(s *types.Struct) string {
	var b strings.Builder
	hidden := false
	for f := range s.Fields() {
		if !f.Exported() {
			hidden = true
			continue
		}
		if f.Embedded() {
			fmt.Fprintf(&b, "%s\n", r.text(f.Type()))
		} else {
			fmt.Fprintf(&b, "%s %s\n", f.Name(), r.text(f.Type()))
		}
	}
	switch {
	case !types.Comparable(s):
		b.WriteString("_ []int // not comparable\n")
	case hidden:
		b.WriteString("_ struct{}\n")
	}
	return b.String()
}

// findNames has the package's own unexported types declared that t names.
func (r *renderer) findNames(t types.Type) {
	switch t := t.(type) {
	case *types.Named:
		if t.Obj().Pkg() == r.pkg {
			r.want(t.Origin().Obj())
		}
		for a := range t.TypeArgs().Types() {
			r.findNames(a)
		}
	case interface{ Elem() types.Type }:
		if m, ok := t.(*types.Map); ok {
			r.findNames(m.Key())
		}
		r.findNames(t.Elem())
	case *types.Signature:
		for v := range t.Params().Variables() {
			r.findNames(v.Type())
		}
		for v := range t.Results().Variables() {
			r.findNames(v.Type())
		}
	case *types.Struct:
		for f := range t.Fields() {
			r.findNames(f.Type())
		}
	case *types.Interface:
		for m := range t.Methods() {
			r.findNames(m.Type())
		}
	case *types.Alias:
		r.findNames(types.Unalias(t))
	}
}
