package saga

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/qiao-tx/qiao/saga/expression"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// function is a service of this process.
type function struct {
	call    reflect.Value
	in      []reflect.Type
	context bool
	result  bool
	fails   bool
}

var (
	contextType = reflect.TypeFor[context.Context]()
	errorType   = reflect.TypeFor[error]()
)

// newFunction accepts func([context.Context,] arguments…) ([result] [, error]).
func newFunction(v reflect.Value) (*function, error) {
	if v.Kind() != reflect.Func || v.IsNil() {
		return nil, fmt.Errorf("%s is no function", v.Type())
	}
	t := v.Type()
	f := &function{call: v}
	if t.IsVariadic() {
		return nil, fmt.Errorf("%s: a variadic function cannot be a service", t)
	}
	for i := range t.NumIn() {
		if i == 0 && t.In(0) == contextType {
			f.context = true
			continue
		}
		f.in = append(f.in, t.In(i))
	}
	out := t.NumOut()
	f.fails = out > 0 && t.Out(out-1) == errorType
	if f.fails {
		out--
	}
	f.result = out == 1
	if out > 1 {
		return nil, fmt.Errorf("%s: want at most one result and an error", t)
	}
	return f, nil
}

func (f *function) invoke(ctx context.Context, input []any) (any, error) {
	var args []reflect.Value
	if f.context {
		args = append(args, reflect.ValueOf(ctx))
	}
	for i, t := range f.in {
		v := reflect.New(t).Elem()
		if i < len(input) && input[i] != nil {
			if err := assign(v, input[i]); err != nil {
				return nil, &Exception{Class: "java.lang.IllegalArgumentException",
					Message: fmt.Sprintf("argument %d: %v", i+1, err), Cause: err}
			}
		}
		args = append(args, v)
	}
	out := f.call.Call(args)
	if f.fails {
		if err, _ := out[len(out)-1].Interface().(error); err != nil {
			return nil, err
		}
	}
	if !f.result {
		return nil, nil
	}
	return out[0].Interface(), nil
}

// assign puts a JSON value into v, by way of JSON unless the types agree.
func assign(v reflect.Value, value any) error {
	if reflect.TypeOf(value).AssignableTo(v.Type()) {
		v.Set(reflect.ValueOf(value))
		return nil
	}
	text, err := json.Marshal(sagalog.Untyped(value))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v.Addr().Interface())
}

// plainCopy makes a value of JSON's values that shares nothing with v: what the
// log would give back. Only JSON's own types are taken as they are.
func plainCopy(v any) (any, error) {
	switch v := v.(type) {
	case nil, bool, int64, float64, string:
		return v, nil
	case int, json.Number:
		return expression.Plain(v), nil
	case map[string]any:
		if v == nil {
			return nil, nil
		}
		m := make(map[string]any, len(v))
		for key, item := range v {
			own, err := plainCopy(item)
			if err != nil {
				return nil, err
			}
			m[key] = own
		}
		return m, nil
	case []any:
		if v == nil {
			return nil, nil
		}
		list := make([]any, len(v))
		for i, item := range v {
			own, err := plainCopy(item)
			if err != nil {
				return nil, err
			}
			list[i] = own
		}
		return list, nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("a result that cannot be logged: %w", err)
	}
	return decode(text)
}

func decode(text []byte) (any, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var plain any
	if err := d.Decode(&plain); err != nil {
		return nil, err
	}
	return plainCopy(plain)
}

// Func makes a function the method of a service: its arguments come from the
// state's Input, its result goes to Output. It may take a context first and
// return an error last. Arguments and the result go through encoding/json unless
// their types are JSON's own.
func (e *Engine) Func(service, method string, fn any) error {
	f, err := newFunction(reflect.ValueOf(fn))
	if err != nil {
		return fmt.Errorf("service %s.%s: %w", service, method, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.functions[service] == nil {
		e.functions[service] = map[string]*function{}
	}
	if e.functions[service][method] != nil {
		return fmt.Errorf("service %s.%s: it is there already", service, method)
	}
	e.functions[service][method] = f
	return nil
}

// Service makes the exported methods of a value those of a service, under their
// own names and with a small first letter, as Java writes them.
func (e *Engine) Service(name string, value any) error {
	v := reflect.ValueOf(value)
	if !v.IsValid() || v.NumMethod() == 0 {
		return fmt.Errorf("service %s: %T has no exported methods", name, value)
	}
	for i := range v.NumMethod() {
		method := v.Type().Method(i).Name
		if err := e.Func(name, method, v.Method(i).Interface()); err != nil {
			return err
		}
		if err := e.Func(name, strings.ToLower(method[:1])+method[1:], v.Method(i).Interface()); err != nil {
			return err
		}
	}
	return nil
}

func (e *Engine) function(service, method string) (*function, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if f := e.functions[service][method]; f != nil {
		return f, nil
	}
	return nil, fmt.Errorf("%w: %s.%s; give it to Engine.Func or Engine.Service", ErrNoService, service, method)
}
