package sagaservice

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	gxbig "github.com/dubbogo/gost/math/big"
)

// maxDepth bounds values in values, also in one that contains itself.
const maxDepth = 200

// plain turns what Hessian has read, or JSON, into maps with texts as keys, lists and
// simple values. Java's class of an object stays in its key "class", so that it can be
// an argument again. A date becomes a text as JSON writes it.
func plain(v any, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("a value nested more than %d deep", maxDepth)
	}
	switch v := v.(type) {
	case nil, bool, string, int64, float64, []byte:
		return v, nil
	case json.Number:
		return number(v)
	case *gxbig.Decimal:
		return number(json.Number(v.String()))
	case *gxbig.Integer:
		return number(json.Number(v.String()))
	case time.Time:
		return v.Format(time.RFC3339Nano), nil
	}
	return plainOf(reflect.ValueOf(v), depth)
}

func plainOf(r reflect.Value, depth int) (any, error) {
	switch r.Kind() {
	case reflect.Pointer, reflect.Interface:
		if r.IsNil() {
			return nil, nil
		}
		return plain(r.Elem().Interface(), depth+1)
	case reflect.Bool:
		return r.Bool(), nil
	case reflect.String:
		return r.String(), nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return r.Int(), nil
	case reflect.Float32, reflect.Float64:
		return r.Float(), nil
	case reflect.Map:
		return plainMap(r, depth)
	case reflect.Slice, reflect.Array:
		list := make([]any, r.Len())
		for n := range list {
			var err error
			if list[n], err = plain(r.Index(n).Interface(), depth+1); err != nil {
				return nil, err
			}
		}
		return list, nil
	}
	text, err := json.Marshal(r.Interface()) // a class that the process has registered
	if err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var own any
	if err := d.Decode(&own); err != nil {
		return nil, err
	}
	return plain(own, depth+1)
}

func plainMap(r reflect.Value, depth int) (any, error) {
	m := make(map[string]any, r.Len())
	for each := r.MapRange(); each.Next(); {
		v, err := plain(each.Value().Interface(), depth+1)
		if err != nil {
			return nil, err
		}
		m[fmt.Sprint(each.Key().Interface())] = v
	}
	return m, nil
}

func number(n json.Number) (any, error) {
	if whole, err := n.Int64(); err == nil {
		return whole, nil
	}
	f, err := n.Float64()
	if err != nil {
		return nil, errors.New("no number: " + n.String())
	}
	return f, nil
}
