package expression

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Plain turns a value into the ones that the log can hold: nil, bool, int64,
// float64, string, []any and map[string]any. What is none of these stays.
func Plain(v any) any {
	switch x := v.(type) {
	case nil, bool, int64, float64, string, map[string]any:
		return v
	case []any:
		return v
	case int:
		return int64(x)
	case json.Number:
		if whole, err := x.Int64(); err == nil {
			return whole
		}
		f, _ := x.Float64()
		return f
	}
	r := reflect.ValueOf(v)
	switch {
	case r.CanInt():
		return r.Int()
	case r.CanUint():
		if r.Uint() <= math.MaxInt64 {
			return int64(r.Uint())
		}
		return float64(r.Uint())
	case r.CanFloat():
		return r.Float()
	}
	switch r.Kind() {
	case reflect.String:
		return r.String()
	case reflect.Bool:
		return r.Bool()
	case reflect.Slice, reflect.Array:
		items := make([]any, r.Len())
		for i := range items {
			items[i] = r.Index(i).Interface()
		}
		return items
	case reflect.Map:
		if r.Type().Key().Kind() != reflect.String {
			return v
		}
		m := make(map[string]any, r.Len())
		for _, key := range r.MapKeys() {
			m[key.String()] = r.MapIndex(key).Interface()
		}
		return m
	}
	return v
}

// Text is the value as Java's string concatenation writes it.
func Text(v any) string {
	switch v := Plain(v).(type) {
	case nil:
		return "null"
	case string:
		return v
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		s := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(s, ".") {
			s += ".0"
		}
		return s
	case bool:
		return strconv.FormatBool(v)
	case []any:
		parts := make([]string, len(v))
		for i := range v {
			parts[i] = Text(v[i])
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case map[string]any:
		parts := make([]string, 0, len(v))
		for _, key := range keys(v) {
			parts = append(parts, key+"="+Text(v[key]))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	return fmt.Sprint(v)
}

// Describe names a value in a message, without its whole content.
func Describe(v any) string {
	switch v := Plain(v).(type) {
	case nil:
		return "null"
	case string:
		if len(v) > 40 {
			return strconv.Quote(strings.ToValidUTF8(v[:40], "")) + "…"
		}
		return strconv.Quote(v)
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case map[string]any:
		return fmt.Sprintf("an object of %d", len(v))
	case int64, float64, bool:
		return Text(v)
	}
	return fmt.Sprintf("a %T", v)
}

func keys(m map[string]any) []string {
	all := make([]string, 0, len(m))
	for key := range m {
		all = append(all, key)
	}
	slices.Sort(all)
	return all
}

func property(v any, name string) (any, error) {
	switch v := Plain(v).(type) {
	case nil:
		return nil, fmt.Errorf("%q of null; write ?.%s if it may be missing", name, name)
	case map[string]any:
		return v[name], nil
	case []any, string:
		if name == "size" || name == "length" {
			return method(v, name, nil)
		}
	}
	return nil, fmt.Errorf("%s has no %q", Describe(v), name)
}

func index(v, key any) (any, error) {
	switch v := Plain(v).(type) {
	case nil:
		return nil, fmt.Errorf("[%s] of null", Text(key))
	case map[string]any:
		return v[Text(key)], nil
	case []any:
		i, ok := Plain(key).(int64)
		if !ok {
			return nil, fmt.Errorf("[%s] of a list: want a number", Text(key))
		}
		if i < 0 || i >= int64(len(v)) {
			return nil, fmt.Errorf("[%d] of a list of %d", i, len(v))
		}
		return v[i], nil
	case string:
		i, ok := Plain(key).(int64)
		if ok && i >= 0 && i < int64(len([]rune(v))) {
			return string([]rune(v)[i]), nil
		}
	}
	return nil, fmt.Errorf("[%s] of %s", Text(key), Describe(v))
}

func list(v any) ([]any, error) {
	switch v := Plain(v).(type) {
	case nil:
		return nil, fmt.Errorf("a selection from null")
	case []any:
		return v, nil
	}
	return nil, fmt.Errorf("%s is no list", Describe(v))
}
