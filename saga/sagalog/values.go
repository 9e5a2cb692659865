package sagalog

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/qiao-tx/qiao/saga/expression"
)

// encodeValue writes parameters as JSON. Seata's standard parser, fastjson, reads it
// as it is; Jackson wants the classes of objects, lists and long numbers.
func encodeValue(v any, jackson bool) (any, error) {
	if v == nil {
		return nil, nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	v = withFractions(v)
	if jackson {
		v = withClasses(v)
	}
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte{'\n'})), nil
}

// withClasses names the classes as Jackson's default typing does (Seata's
// JacksonJsonParser).
func withClasses(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v)+1)
		for key, item := range v {
			m[key] = withClasses(item)
		}
		m["@type"] = "java.util.LinkedHashMap"
		return m
	case []any:
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = withClasses(item)
		}
		return []any{"java.util.ArrayList", list}
	case int64:
		if v != int64(int32(v)) {
			return []any{"java.lang.Long", v}
		}
	}
	return v
}

// withFractions writes numbers of floating point so that they are read as such: a
// division must give the same before and after.
func withFractions(v any) any {
	switch v := v.(type) {
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return json.Number(strconv.FormatFloat(v, 'f', 1, 64))
		}
	case []any:
		for i, item := range v {
			if own := withFractions(item); !same(own, item) {
				list := slices.Clone(v)
				for j := i; j < len(v); j++ {
					list[j] = withFractions(v[j])
				}
				return list
			}
		}
	case map[string]any:
		var m map[string]any
		for key, item := range v {
			if own := withFractions(item); !same(own, item) {
				if m == nil {
					m = maps.Clone(v)
				}
				m[key] = own
			}
		}
		if m != nil {
			return m
		}
	}
	return v
}

// same tells whether withFractions has left a value as it is.
func same(own, item any) bool {
	switch item := item.(type) {
	case float64:
		_, changed := own.(json.Number)
		return !changed
	case []any:
		list := own.([]any)
		return len(item) == 0 || &list[0] == &item[0]
	case map[string]any:
		return reflect.ValueOf(own).Pointer() == reflect.ValueOf(item).Pointer()
	}
	return true
}

// decodeValue reads parameters. Java writes them with the classes of their
// values: as a key @type, as a list of class and value, or as a letter behind a
// number.
func decodeValue(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(withoutSuffixes([]byte(text))))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("parameters that are no JSON: %w", err)
	}
	return Untyped(v), nil
}

// javaClass is a class name of the two-element lists that Jackson writes.
var javaClass = regexp.MustCompile(`^(\[+[A-Z]|([a-z_]\w*\.)+)?[\w$.;]*$`)

// Untyped drops the names of Java's classes from a value, and turns numbers into
// int64 or float64.
func Untyped(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := make(map[string]any, len(v))
		for key, item := range v {
			if key != "@type" && key != "@class" {
				m[key] = Untyped(item)
			}
		}
		return m
	case []any:
		if len(v) == 2 {
			if class, ok := v[0].(string); ok && isClass(class) {
				return Untyped(v[1])
			}
		}
		list := make([]any, len(v))
		for i, item := range v {
			list[i] = Untyped(item)
		}
		return list
	}
	return expression.Plain(v)
}

func isClass(s string) bool {
	for _, prefix := range []string{"java.", "[L", "org.", "com.", "io."} {
		if len(s) > len(prefix) && s[:len(prefix)] == prefix {
			return javaClass.MatchString(s)
		}
	}
	return false
}

// withoutSuffixes drops the L, D, F, S and B that fastjson writes behind numbers.
func withoutSuffixes(b []byte) []byte {
	out := make([]byte, 0, len(b))
	quoted, number := false, false
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case quoted && c == '\\' && i+1 < len(b):
			out = append(out, c)
			i++
			c = b[i]
		case c == '"':
			quoted = !quoted
		}
		digit := c >= '0' && c <= '9'
		if !quoted && number && bytes.IndexByte([]byte("LDFSB"), c) >= 0 {
			number = false
			continue
		}
		number = !quoted && (digit || number && (c == '.' || c == 'E' || c == 'e' || c == '-' || c == '+'))
		out = append(out, c)
	}
	return out
}
