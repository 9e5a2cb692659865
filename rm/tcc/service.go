package tcc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	"github.com/qiao-tx/qiao/rm"
)

// BusinessActionContext is what a Service learns of its branch in phase two.
type BusinessActionContext struct {
	XID           string
	BranchID      int64
	ActionName    string
	ActionContext map[string]json.RawMessage
}

// Get reads the entry named key into a pointer, as json.Unmarshal does: numbers of
// 64 bits stay what they are. A missing entry is an error.
func (c *BusinessActionContext) Get(key string, into any) error {
	raw, ok := c.ActionContext[key]
	if !ok {
		return fmt.Errorf("the action context of branch %d has no entry %q: tag the parameter with `tccParam:%q`", c.BranchID, key, key)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("entry %q of the action context of branch %d: %w", key, c.BranchID, err)
	}
	return nil
}

// Service is a TCC participant with the methods that one of seata-go has. New code
// is better off with an Action, whose argument has a type.
type Service interface {
	Prepare(ctx context.Context, params any) (bool, error)
	Commit(ctx context.Context, bac *BusinessActionContext) (bool, error)
	Rollback(ctx context.Context, bac *BusinessActionContext) (bool, error)
	GetActionName() string
}

// Tags of a participant that is a struct of functions, and of the fields of a
// parameter, as in seata-go.
const (
	tagPhase = "seataTwoPhaseAction"
	tagName  = "seataTwoPhaseServiceName"
	tagParam = "tccParam"
)

// errFalse is the answer of a function that returned false and no error. In Java
// and here that is a failure; seata-go takes it for success.
var errFalse = errors.New("it returned false")

// ServiceHandle is a registered Service.
type ServiceHandle struct {
	handle *Handle[fields]
	// takes is the type of the parameter; nil takes any.
	takes reflect.Type
}

// fields are the entries of an action context.
type fields map[string]json.RawMessage

// RegisterService registers what seata-go's NewTCCServiceProxy takes: a Service,
// or a pointer to a struct with three fields that are functions,
//
//	type Stock struct {
//		Reserve func(ctx context.Context, r Reservation) (bool, error)                `seataTwoPhaseAction:"prepare" seataTwoPhaseServiceName:"stock"`
//		Take    func(ctx context.Context, bac *tcc.BusinessActionContext) (bool, error) `seataTwoPhaseAction:"commit"`
//		GiveBack func(ctx context.Context, bac *tcc.BusinessActionContext) (bool, error) `seataTwoPhaseAction:"rollback"`
//	}
//
// whose parameter of prepare may have any type. False without an error is a
// failure: prepare's rolls back, the others' are repeated. Errors are those of
// Register, and say which field is not as it must be.
func RegisterService(ctx context.Context, c rm.Coordinator, service any) (*ServiceHandle, error) {
	s, ok := service.(Service)
	takes := reflect.Type(nil)
	if !ok {
		tagged, err := parseTagged(service)
		if err != nil {
			return nil, fmt.Errorf("register TCC service %T: %w", service, err)
		}
		s, takes = tagged, tagged.takes
	}
	handle, err := Register(ctx, c, Action[fields]{
		Name: s.GetActionName(),
		Try: func(ctx context.Context, _ fields) error {
			return truth(s.Prepare(ctx, ctx.Value(paramsKey{})))
		},
		Confirm: func(ctx context.Context, f fields) error { return truth(s.Commit(ctx, contextOf(ctx, f))) },
		Cancel:  func(ctx context.Context, f fields) error { return truth(s.Rollback(ctx, contextOf(ctx, f))) },
	})
	if err != nil {
		return nil, err
	}
	return &ServiceHandle{handle: handle, takes: takes}, nil
}

type paramsKey struct{}

func truth(ok bool, err error) error {
	if err == nil && !ok {
		return errFalse
	}
	return err
}

func contextOf(ctx context.Context, f fields) *BusinessActionContext {
	b, _ := BranchFrom(ctx)
	return &BusinessActionContext{XID: b.XID, BranchID: b.ID, ActionName: b.ResourceID, ActionContext: f}
}

// Prepare registers a branch and calls the service's prepare, as Handle.Try does.
// Commit and Rollback get the fields of params that have a tag `tccParam`, by its
// name; where no field has one, the entries of its JSON object. params may be
// nil, a struct or a pointer to one, or a map.
func (h *ServiceHandle) Prepare(ctx context.Context, params any) error {
	name := h.handle.action.Name
	if h.takes != nil && (params == nil || !reflect.TypeOf(params).AssignableTo(h.takes)) {
		return fmt.Errorf("prepare of TCC service %q: it takes a %s, not a %T", name, h.takes, params)
	}
	f, err := fieldsOf(params)
	if err != nil {
		return fmt.Errorf("prepare of TCC service %q: %w", name, err)
	}
	return h.handle.Try(context.WithValue(ctx, paramsKey{}, params), f)
}

// fieldsOf returns what of the parameter travels to phase two.
func fieldsOf(params any) (fields, error) {
	f, tagged, err := taggedFields(params)
	if tagged || err != nil {
		return f, err
	}
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("parameter of type %T: %w", params, err)
	}
	if err := json.Unmarshal(raw, &f); err != nil {
		return nil, fmt.Errorf("parameter of type %T: want a struct or a map, whose entries have names: %w", params, err)
	}
	return f, nil
}

func taggedFields(params any) (f fields, tagged bool, err error) {
	v := reflect.Indirect(reflect.ValueOf(params))
	if v.Kind() != reflect.Struct {
		return nil, false, nil
	}
	f = make(fields)
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get(tagParam)
		if name == "" || name == "-" || !field.IsExported() {
			continue
		}
		tagged = true
		if f[name], err = json.Marshal(v.Field(i).Interface()); err != nil {
			return nil, true, fmt.Errorf("field %s of %T: %w", field.Name, params, err)
		}
	}
	return f, tagged, nil
}
