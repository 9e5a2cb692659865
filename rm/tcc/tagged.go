package tcc

import (
	"context"
	"errors"
	"fmt"
	"reflect"
)

// tagged is a Service that is a struct of functions.
type tagged struct {
	name                      string
	takes                     reflect.Type
	prepare, commit, rollback reflect.Value
}

var (
	typeContext = reflect.TypeFor[context.Context]()
	typeBAC     = reflect.TypeFor[*BusinessActionContext]()
	typeBool    = reflect.TypeFor[bool]()
	typeError   = reflect.TypeFor[error]()
)

// parseTagged reads the tags of a pointer to a struct.
func parseTagged(service any) (*tagged, error) {
	v := reflect.ValueOf(service)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return nil, errors.New("want a Service or a pointer to a struct of functions")
	}
	v = v.Elem()
	s := &tagged{}
	phases := map[string]*reflect.Value{"prepare": &s.prepare, "commit": &s.commit, "rollback": &s.rollback}
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if name := field.Tag.Get(tagName); name != "" {
			s.name = name
		}
		phase, ok := field.Tag.Lookup(tagPhase)
		if !ok {
			continue
		}
		into := phases[phase]
		switch {
		case into == nil:
			return nil, fmt.Errorf("field %s: %s is %q: want prepare, commit or rollback", field.Name, tagPhase, phase)
		case into.IsValid():
			return nil, fmt.Errorf("field %s: there is another %s", field.Name, phase)
		}
		if err := checkFunction(field, v.Field(i), phase); err != nil {
			return nil, fmt.Errorf("field %s: %w", field.Name, err)
		}
		*into = v.Field(i)
	}
	for _, phase := range []string{"prepare", "commit", "rollback"} {
		if !phases[phase].IsValid() {
			return nil, fmt.Errorf("no field has the tag `%s:%q`", tagPhase, phase)
		}
	}
	if s.name == "" {
		return nil, fmt.Errorf("no field has the tag `%s:\"name\"`, which names the action", tagName)
	}
	s.takes = s.prepare.Type().In(1)
	return s, nil
}

func checkFunction(field reflect.StructField, v reflect.Value, phase string) error {
	t := field.Type
	takes := "any type"
	fits := t.Kind() == reflect.Func && !t.IsVariadic() && t.NumIn() == 2 && t.In(0) == typeContext &&
		t.NumOut() == 2 && t.Out(0) == typeBool && t.Out(1) == typeError
	if phase != "prepare" {
		takes = "*tcc.BusinessActionContext"
		fits = fits && t.In(1) == typeBAC
	}
	switch {
	case !field.IsExported():
		return errors.New("it is not exported")
	case !fits:
		return fmt.Errorf("it is a %s: want func(context.Context, %s) (bool, error)", t, takes)
	case v.IsNil():
		return errors.New("it is nil")
	}
	return nil
}

func (s *tagged) GetActionName() string { return s.name }

func (s *tagged) Prepare(ctx context.Context, params any) (bool, error) {
	return call(s.prepare, ctx, reflect.ValueOf(params))
}

func (s *tagged) Commit(ctx context.Context, bac *BusinessActionContext) (bool, error) {
	return call(s.commit, ctx, reflect.ValueOf(bac))
}

func (s *tagged) Rollback(ctx context.Context, bac *BusinessActionContext) (bool, error) {
	return call(s.rollback, ctx, reflect.ValueOf(bac))
}

func call(fn reflect.Value, ctx context.Context, arg reflect.Value) (bool, error) {
	out := fn.Call([]reflect.Value{reflect.ValueOf(ctx), arg})
	err, _ := out[1].Interface().(error)
	return out[0].Bool(), err
}
