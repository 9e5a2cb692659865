package actiongen

import (
	"fmt"
	"go/ast"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	directivePrefix = "//qiao:"

	kindTCC          = "tcc"
	kindCompensation = "compensation"
)

// directive is what an annotation says.
type directive struct {
	at   token.Position
	kind string
	name string
	// confirm, cancel and compensate name methods.
	confirm, cancel, compensate string
	// The times and repetitions of the action; zero values are left out.
	callTimeout, timeout, wait, giveUpAfter time.Duration
	attempts                                int
}

type phase struct{ key, method string }

// phases are the methods of phase two, by the keys that name them.
func (d directive) phases() []phase {
	if d.kind == kindTCC {
		return []phase{{"confirm", d.confirm}, {"cancel", d.cancel}}
	}
	return []phase{{"compensate", d.compensate}}
}

// directiveOf reads the annotation of a method. It has reported what is wrong when
// ok is false though there is one.
func (s *source) directiveOf(m *ast.Field) (d directive, ok bool) {
	if m.Doc == nil {
		return d, false
	}
	known := len(s.problems)
	for _, c := range m.Doc.List {
		text, isOne := strings.CutPrefix(c.Text, directivePrefix)
		if !isOne {
			continue
		}
		if ok {
			s.problems.add(s.at(c), "the method has another annotation in line %d", d.at.Line)
			continue
		}
		d, ok = s.readDirective(s.at(c), text), true
	}
	return d, ok && len(s.problems) == known
}

func (s *source) readDirective(at token.Position, text string) directive {
	words := strings.Fields(text)
	d := directive{at: at}
	if len(words) > 0 {
		d.kind = words[0]
	}
	if d.kind != kindTCC && d.kind != kindCompensation {
		s.problems.add(at, "annotation %s%s: want //qiao:tcc or //qiao:compensation", directivePrefix, d.kind)
		return d
	}
	var given []string
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		if slices.Contains(given, key) {
			s.problems.add(at, "%s is given twice", key)
		}
		given = append(given, key)
		if err := d.set(key, value); err != nil {
			s.problems.add(at, "%s: %v", word, err)
		}
	}
	for _, p := range append([]phase{{"name", d.name}}, d.phases()...) {
		if p.method == "" && !slices.Contains(given, p.key) {
			s.problems.add(at, "%s= is missing", p.key)
		}
	}
	return d
}

// set takes one key=value.
func (d *directive) set(key, value string) error {
	if value == "" {
		return fmt.Errorf("want %s=value", key)
	}
	text := map[string]*string{"name": &d.name}
	call := "try-timeout"
	if d.kind == kindTCC {
		text["confirm"], text["cancel"] = &d.confirm, &d.cancel
	} else {
		text["compensate"], call = &d.compensate, "call-timeout"
	}
	times := map[string]*time.Duration{call: &d.callTimeout, "timeout": &d.timeout, "wait": &d.wait, "give-up-after": &d.giveUpAfter}
	switch {
	case text[key] != nil:
		*text[key] = value
		if strings.ContainsAny(value, "\"`,\\") || key == "name" && len(value) > 64 {
			return fmt.Errorf("want at most 64 bytes without quotes, commas and backslashes")
		}
	case times[key] != nil:
		t, err := time.ParseDuration(value)
		if err != nil || t <= 0 {
			return fmt.Errorf("want a time above 0, such as 5s")
		}
		*times[key] = t
	case key == "attempts":
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Errorf("want a number above 0")
		}
		d.attempts = n
	default:
		known := []string{"attempts"}
		for k := range text {
			known = append(known, k)
		}
		for k := range times {
			known = append(known, k)
		}
		slices.Sort(known)
		return fmt.Errorf("no such key; there are %s", strings.Join(known, ", "))
	}
	return nil
}
