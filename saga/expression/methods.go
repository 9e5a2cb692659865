package expression

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// method calls a method that Java's types have and state machines use. A getter
// of an object reads its property.
func method(v any, name string, arguments []any) (any, error) {
	v = Plain(v)
	for i := range arguments {
		arguments[i] = Plain(arguments[i])
	}
	if v == nil {
		return nil, fmt.Errorf("%s() of null; write ?.%s() if it may be missing", name, name)
	}
	var table map[string]call
	switch v := v.(type) {
	case string:
		table = ofText(v)
	case []any:
		table = ofList(v)
	case map[string]any:
		table = ofObject(v)
		if field, ok := getter(name); ok && len(arguments) == 0 {
			if _, listed := table[name]; !listed {
				return v[field], nil
			}
		}
	case int64, float64:
		table = ofNumber(v)
	}
	c, ok := table[name]
	if !ok {
		c, ok = ofAll(v)[name]
	}
	if !ok {
		return nil, fmt.Errorf("%s has no method %s()", Describe(v), name)
	}
	if len(arguments) < c.least || len(arguments) > c.most {
		return nil, fmt.Errorf("%s() of %s takes %d to %d arguments, found %d", name, Describe(v), c.least, c.most, len(arguments))
	}
	return c.do(arguments)
}

// call is a method and how many arguments it takes.
type call struct {
	least, most int
	do          func(a []any) (any, error)
}

func plainly(n int, f func(a []any) any) call {
	return call{n, n, func(a []any) (any, error) { return f(a), nil }}
}

// getter turns getAge or isAdult into age or adult.
func getter(name string) (field string, ok bool) {
	for _, prefix := range []string{"get", "is"} {
		rest, found := strings.CutPrefix(name, prefix)
		if found && rest != "" && rest[0] >= 'A' && rest[0] <= 'Z' {
			return strings.ToLower(rest[:1]) + rest[1:], true
		}
	}
	return "", false
}

func ofAll(v any) map[string]call {
	return map[string]call{
		"equals":       plainly(1, func(a []any) any { return equal(v, a[0]) }),
		"toString":     plainly(0, func([]any) any { return Text(v) }),
		"booleanValue": plainly(0, func([]any) any { return v == true }),
		"name":         plainly(0, func([]any) any { return Text(v) }),
	}
}

func ofText(s string) map[string]call {
	of := func(f func(s, other string) any) call {
		return plainly(1, func(a []any) any { return f(s, Text(a[0])) })
	}
	return map[string]call{
		"length":           plainly(0, func([]any) any { return int64(len([]rune(s))) }),
		"isEmpty":          plainly(0, func([]any) any { return s == "" }),
		"isBlank":          plainly(0, func([]any) any { return strings.TrimSpace(s) == "" }),
		"trim":             plainly(0, func([]any) any { return strings.TrimSpace(s) }),
		"toUpperCase":      plainly(0, func([]any) any { return strings.ToUpper(s) }),
		"toLowerCase":      plainly(0, func([]any) any { return strings.ToLower(s) }),
		"contains":         of(func(s, o string) any { return strings.Contains(s, o) }),
		"startsWith":       of(func(s, o string) any { return strings.HasPrefix(s, o) }),
		"endsWith":         of(func(s, o string) any { return strings.HasSuffix(s, o) }),
		"indexOf":          of(func(s, o string) any { return int64(strings.Index(s, o)) }),
		"lastIndexOf":      of(func(s, o string) any { return int64(strings.LastIndex(s, o)) }),
		"concat":           of(func(s, o string) any { return s + o }),
		"equalsIgnoreCase": of(func(s, o string) any { return strings.EqualFold(s, o) }),
		"compareTo":        of(func(s, o string) any { return int64(strings.Compare(s, o)) }),
		"matches":          {1, 1, func(a []any) (any, error) { return matches(s, a[0]) }},
		"split":            plainly(1, func(a []any) any { return splitText(s, Text(a[0])) }),
		"replace":          plainly(2, func(a []any) any { return strings.ReplaceAll(s, Text(a[0]), Text(a[1])) }),
		"charAt":           {1, 1, func(a []any) (any, error) { return index(s, a[0]) }},
		"substring":        {1, 2, func(a []any) (any, error) { return substring([]rune(s), a) }},
	}
}

func splitText(s, separator string) any {
	parts := strings.Split(s, separator)
	all := make([]any, len(parts))
	for i, p := range parts {
		all[i] = p
	}
	return all
}

func substring(s []rune, a []any) (any, error) {
	from, ok := a[0].(int64)
	to := int64(len(s))
	if len(a) == 2 {
		last, isNumber := a[1].(int64)
		to, ok = last, ok && isNumber
	}
	if !ok || from < 0 || to > int64(len(s)) || from > to {
		return nil, fmt.Errorf("substring: bounds outside of a string of %d", len(s))
	}
	return string(s[from:to]), nil
}

func ofList(items []any) map[string]call {
	position := func(v any) int { return slices.IndexFunc(items, func(x any) bool { return equal(x, v) }) }
	return map[string]call{
		"size":     plainly(0, func([]any) any { return int64(len(items)) }),
		"length":   plainly(0, func([]any) any { return int64(len(items)) }),
		"isEmpty":  plainly(0, func([]any) any { return len(items) == 0 }),
		"contains": plainly(1, func(a []any) any { return position(a[0]) >= 0 }),
		"indexOf":  plainly(1, func(a []any) any { return int64(position(a[0])) }),
		"get":      {1, 1, func(a []any) (any, error) { return index(items, a[0]) }},
	}
}

func ofObject(m map[string]any) map[string]call {
	return map[string]call{
		"size":        plainly(0, func([]any) any { return int64(len(m)) }),
		"isEmpty":     plainly(0, func([]any) any { return len(m) == 0 }),
		"get":         plainly(1, func(a []any) any { return m[Text(a[0])] }),
		"containsKey": plainly(1, func(a []any) any { _, ok := m[Text(a[0])]; return ok }),
		"getOrDefault": plainly(2, func(a []any) any {
			if v, ok := m[Text(a[0])]; ok {
				return v
			}
			return a[1]
		}),
		"containsValue": plainly(1, func(a []any) any {
			for _, v := range m {
				if equal(v, a[0]) {
					return true
				}
			}
			return false
		}),
		"keySet": plainly(0, func([]any) any {
			all := make([]any, 0, len(m))
			for _, key := range keys(m) {
				all = append(all, key)
			}
			return all
		}),
		"values": plainly(0, func([]any) any {
			all := make([]any, 0, len(m))
			for _, key := range keys(m) {
				all = append(all, m[key])
			}
			return all
		}),
	}
}

func ofNumber(v any) map[string]call {
	f, _ := toFloat(v)
	whole := func([]any) any {
		if i, ok := v.(int64); ok {
			return i
		}
		return int64(f)
	}
	broken := func([]any) any { return f }
	return map[string]call{
		"intValue": plainly(0, whole), "longValue": plainly(0, whole),
		"doubleValue": plainly(0, broken), "floatValue": plainly(0, broken),
		"compareTo": {1, 1, func(a []any) (any, error) { o, err := compare(v, a[0]); return int64(o), err }},
	}
}

// statics are the static methods of java.lang that make sense in a state machine.
var statics = map[string]func(a []any) (any, error){
	"Math.max":             extreme(1),
	"Math.min":             extreme(-1),
	"Math.abs":             absolute,
	"Math.floor":           rounded(math.Floor),
	"Math.ceil":            rounded(math.Ceil),
	"Integer.parseInt":     parseWhole,
	"Integer.valueOf":      parseWhole,
	"Long.parseLong":       parseWhole,
	"Long.valueOf":         parseWhole,
	"Double.parseDouble":   parseFloat,
	"Double.valueOf":       parseFloat,
	"Boolean.parseBoolean": func(a []any) (any, error) { return len(a) == 1 && strings.EqualFold(Text(a[0]), "true"), nil },
	"String.valueOf":       one(func(v any) (any, error) { return Text(v), nil }),
}

func one(f func(v any) (any, error)) func(a []any) (any, error) {
	return func(a []any) (any, error) {
		if len(a) != 1 {
			return nil, fmt.Errorf("want one argument, found %d", len(a))
		}
		return f(Plain(a[0]))
	}
}

func extreme(wanted int) func(a []any) (any, error) {
	return func(a []any) (any, error) {
		if len(a) != 2 {
			return nil, fmt.Errorf("want two arguments, found %d", len(a))
		}
		o, err := compare(a[0], a[1])
		if o == -wanted {
			return a[1], err
		}
		return a[0], err
	}
}

func absolute(a []any) (any, error) {
	return one(func(v any) (any, error) {
		switch v := v.(type) {
		case int64:
			return max(v, -v), nil
		case float64:
			return math.Abs(v), nil
		}
		return nil, fmt.Errorf("abs of %s", Describe(v))
	})(a)
}

func rounded(round func(float64) float64) func(a []any) (any, error) {
	return one(func(v any) (any, error) {
		f, ok := toFloat(v)
		if !ok {
			return nil, fmt.Errorf("%s is no number", Describe(v))
		}
		return round(f), nil
	})
}

func parseWhole(a []any) (any, error) {
	return one(func(v any) (any, error) {
		n, err := strconv.ParseInt(Text(v), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is no whole number", Describe(v))
		}
		return n, nil
	})(a)
}

func parseFloat(a []any) (any, error) {
	return one(func(v any) (any, error) {
		n, err := strconv.ParseFloat(Text(v), 64)
		if err != nil {
			return nil, fmt.Errorf("%s is no number", Describe(v))
		}
		return n, nil
	})(a)
}
