package expression

import (
	"fmt"
	"math"
	"regexp"
	"strings"

	"github.com/expr-lang/expr"
)

// operators are the functions that translated code calls. They have the meaning
// of Spring's expression language, on the values of JSON.
func operators() []expr.Option {
	functions := map[string]func(a ...any) (any, error){
		"eq":           func(a ...any) (any, error) { return equal(a[0], a[1]), nil },
		"ne":           func(a ...any) (any, error) { return !equal(a[0], a[1]), nil },
		"lt":           comparison(func(order int) bool { return order < 0 }),
		"le":           comparison(func(order int) bool { return order <= 0 }),
		"gt":           comparison(func(order int) bool { return order > 0 }),
		"ge":           comparison(func(order int) bool { return order >= 0 }),
		"add":          add,
		"subtract":     arithmetic("-", func(a, b int64) (any, error) { return a - b, nil }, func(a, b float64) float64 { return a - b }),
		"multiply":     arithmetic("*", func(a, b int64) (any, error) { return a * b, nil }, func(a, b float64) float64 { return a * b }),
		"divide":       arithmetic("/", divide, func(a, b float64) float64 { return a / b }),
		"remainder":    arithmetic("%", remainder, math.Mod),
		"power":        power,
		"like":         matches,
		"within":       between,
		"condition":    condition,
		"truth":        func(a ...any) (any, error) { return truth(a[0]), nil },
		"elvis":        elvis,
		"property":     func(a ...any) (any, error) { return property(a[0], a[1].(string)) },
		"safeProperty": safely(func(a ...any) (any, error) { return property(a[0], a[1].(string)) }),
		"method":       func(a ...any) (any, error) { return method(a[0], a[1].(string), a[2:]) },
		"safeMethod":   safely(func(a ...any) (any, error) { return method(a[0], a[1].(string), a[2:]) }),
		"index":        func(a ...any) (any, error) { return index(a[0], a[1]) },
		"list":         func(a ...any) (any, error) { return list(a[0]) },
		"first":        func(a ...any) (any, error) { return pick(a[0], func(int) int { return 0 }) },
		"last":         func(a ...any) (any, error) { return pick(a[0], func(n int) int { return n - 1 }) },
		"static":       func(a ...any) (any, error) { return statics[a[0].(string)](a[1:]) },
		"listOf":       func(a ...any) (any, error) { return append([]any{}, a...), nil },
		"mapOf":        mapOf,
	}
	options := make([]expr.Option, 0, len(functions))
	for name, f := range functions {
		options = append(options, expr.Function(name, f))
	}
	return options
}

func safely(f func(a ...any) (any, error)) func(a ...any) (any, error) {
	return func(a ...any) (any, error) {
		if a[0] == nil {
			return nil, nil
		}
		return f(a...)
	}
}

func condition(a ...any) (any, error) {
	b, ok := a[0].(bool)
	if !ok {
		return nil, fmt.Errorf("%s is no boolean", Describe(a[0]))
	}
	return b, nil
}

// truth is Groovy's: null, zero and what is empty are false.
func truth(v any) bool {
	switch v := Plain(v).(type) {
	case nil:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

func elvis(a ...any) (any, error) {
	if a[0] == nil || a[0] == "" {
		return a[1], nil
	}
	return a[0], nil
}

// equal compares numbers by value, whatever their types.
func equal(a, b any) bool {
	a, b = Plain(a), Plain(b)
	switch x := a.(type) {
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for i := range x {
			if !equal(x[i], y[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok || len(x) != len(y) {
			return false
		}
		for key := range x {
			other, there := y[key]
			if !there || !equal(x[key], other) {
				return false
			}
		}
		return true
	}
	switch b.(type) {
	case []any, map[string]any:
		return false
	}
	if x, y, ok := floats(a, b); ok && (isFloat(a) || isFloat(b)) {
		return x == y
	}
	return a == b
}

func isFloat(v any) bool { _, ok := v.(float64); return ok }

func floats(a, b any) (x, y float64, ok bool) {
	x, okA := toFloat(a)
	y, okB := toFloat(b)
	return x, y, okA && okB
}

func toFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

func comparison(holds func(order int) bool) func(a ...any) (any, error) {
	return func(a ...any) (any, error) {
		order, err := compare(a[0], a[1])
		return err == nil && holds(order), err
	}
}

// compare puts null before everything else, as Spring does.
func compare(a, b any) (int, error) {
	a, b = Plain(a), Plain(b)
	switch {
	case a == nil && b == nil:
		return 0, nil
	case a == nil:
		return -1, nil
	case b == nil:
		return 1, nil
	}
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			return order(x, y), nil
		}
	}
	if x, y, ok := floats(a, b); ok {
		return order(x, y), nil
	}
	x, okA := a.(string)
	y, okB := b.(string)
	if !okA || !okB {
		return 0, fmt.Errorf("%s cannot be compared with %s", Describe(a), Describe(b))
	}
	return strings.Compare(x, y), nil
}

func order[T int64 | float64](x, y T) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func arithmetic(sign string, whole func(a, b int64) (any, error), broken func(a, b float64) float64) func(a ...any) (any, error) {
	return func(a ...any) (any, error) {
		x, y := Plain(a[0]), Plain(a[1])
		if i, ok := x.(int64); ok {
			if j, ok := y.(int64); ok {
				return whole(i, j)
			}
		}
		f, g, ok := floats(x, y)
		if !ok {
			return nil, fmt.Errorf("%s %s %s: want numbers", Describe(x), sign, Describe(y))
		}
		return broken(f, g), nil
	}
}

func add(a ...any) (any, error) {
	x, y := Plain(a[0]), Plain(a[1])
	_, left := x.(string)
	_, right := y.(string)
	if left || right {
		return Text(x) + Text(y), nil
	}
	return arithmetic("+", func(a, b int64) (any, error) { return a + b, nil },
		func(a, b float64) float64 { return a + b })(x, y)
}

func divide(a, b int64) (any, error) {
	if b == 0 {
		return nil, fmt.Errorf("division of %d by zero", a)
	}
	return a / b, nil
}

func remainder(a, b int64) (any, error) {
	if b == 0 {
		return nil, fmt.Errorf("division of %d by zero", a)
	}
	return a % b, nil
}

func power(a ...any) (any, error) {
	x, y, ok := floats(Plain(a[0]), Plain(a[1]))
	if !ok {
		return nil, fmt.Errorf("%s ^ %s: want numbers", Describe(a[0]), Describe(a[1]))
	}
	result := math.Pow(x, y)
	if !isFloat(Plain(a[0])) && !isFloat(Plain(a[1])) && math.Abs(result) < 1<<53 && result == math.Trunc(result) {
		return int64(result), nil
	}
	return result, nil
}

func matches(a ...any) (any, error) {
	pattern, ok := a[1].(string)
	if !ok {
		return nil, fmt.Errorf("matches: want a regular expression, found %s", Describe(a[1]))
	}
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, fmt.Errorf("matches: %w", err)
	}
	s, ok := a[0].(string)
	return ok && re.MatchString(s), nil
}

func between(a ...any) (any, error) {
	bounds, ok := Plain(a[1]).([]any)
	if !ok || len(bounds) != 2 {
		return nil, fmt.Errorf("between: want {low, high}, found %s", Describe(a[1]))
	}
	low, err := compare(a[0], bounds[0])
	if err != nil {
		return nil, err
	}
	high, err := compare(a[0], bounds[1])
	return low >= 0 && high <= 0, err
}

func mapOf(a ...any) (any, error) {
	m := make(map[string]any, len(a)/2)
	for i := 0; i+1 < len(a); i += 2 {
		m[Text(a[i])] = a[i+1]
	}
	return m, nil
}

func pick(v any, at func(n int) int) (any, error) {
	items, err := list(v)
	if err != nil || len(items) == 0 {
		return nil, err
	}
	return items[at(len(items))], nil
}
