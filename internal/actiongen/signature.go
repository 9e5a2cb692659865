package actiongen

import (
	"go/ast"
	"go/types"
	"slices"
)

// signature is what a method takes and returns.
type signature struct {
	params []param
	fenced bool
	result string
}

// signatureOf checks a method that is part of an action. It has reported what is
// wrong when ok is false.
func (s *source) signatureOf(m *ast.Field) (sig signature, ok bool) {
	name, fn := m.Names[0].Name, m.Type.(*ast.FuncType)
	known := len(s.problems)
	flat := flatten(fn.Params)
	switch {
	case len(flat) == 0 || flat[0].typ != "context.Context":
		s.problems.add(s.at(m), "%s: its first parameter must be ctx context.Context", name)
	default:
		flat = flat[1:]
		if len(flat) > 0 && flat[0].typ == "*sql.Tx" {
			sig.fenced, flat = true, flat[1:]
		}
	}
	sig.params = flat
	s.checkParams(m, name, flat)
	switch results := flatten(fn.Results); {
	case len(results) == 1 && results[0].typ == "error":
	case len(results) == 2 && results[1].typ == "error":
		sig.result = results[0].typ
	default:
		s.problems.add(s.at(m), "%s: it must return error, or a result and error", name)
	}
	return sig, len(s.problems) == known
}

// checkParams wants parameters whose names can be those of entries.
func (s *source) checkParams(m *ast.Field, method string, params []param) {
	reserved := []string{"actionName", "useTCCFence"}
	var seen []string
	for _, p := range params {
		field := exported(p.name)
		switch {
		case p.name == "" || p.name == "_":
			s.problems.add(s.at(m), "%s: a parameter of type %s has no name; the action context needs one", method, p.typ)
		case slices.Contains(reserved, p.name):
			s.problems.add(s.at(m), "%s: Seata itself uses the name %s; rename the parameter", method, p.name)
		case slices.Contains(seen, field):
			s.problems.add(s.at(m), "%s: two parameters are called %s but for the case of a letter", method, p.name)
		case len(p.typ) > 3 && p.typ[:3] == "...":
			s.problems.add(s.at(m), "%s: %s %s: take a slice instead", method, p.name, p.typ)
		case p.typ == "*sql.Tx" || p.typ == "context.Context":
			s.problems.add(s.at(m), "%s: %s %s: only the first two parameters can be ctx and tx", method, p.name, p.typ)
		}
		seen = append(seen, field)
	}
}

// flatten lists parameters one by one: "a, b int" are two.
func flatten(fields *ast.FieldList) (all []param) {
	if fields == nil {
		return nil
	}
	for _, f := range fields.List {
		typ := types.ExprString(f.Type)
		if len(f.Names) == 0 {
			all = append(all, param{"", typ})
		}
		for _, name := range f.Names {
			all = append(all, param{name.Name, typ})
		}
	}
	return all
}
