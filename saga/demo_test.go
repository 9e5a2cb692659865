package saga_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/qiao-tx/qiao/saga"
)

// demo are the services that Seata's own test machines call.
type demo struct{ calls atomic.Int64 }

func demoError(method string) error {
	return &saga.Exception{Class: "org.apache.seata.saga.engine.mock.DemoException",
		Also: []string{"java.lang.RuntimeException"}, Message: method + " execute failed"}
}

func (d *demo) do(ctx context.Context, method string, input map[string]any) (map[string]any, error) {
	d.calls.Add(1)
	if ms, ok := input["sleepTime"].(int64); ok {
		select {
		case <-time.After(time.Duration(ms) * time.Millisecond):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if input["throwException"] == "true" {
		return nil, demoError(method)
	}
	return input, nil
}

func (d *demo) Foo(ctx context.Context, input map[string]any) (map[string]any, error) {
	return d.do(ctx, "foo", input)
}

func (d *demo) Bar(ctx context.Context, input map[string]any) (map[string]any, error) {
	return d.do(ctx, "bar", input)
}

func (d *demo) CompensateFoo(ctx context.Context, input map[string]any) (map[string]any, error) {
	return d.do(ctx, "compensateFoo", input)
}

func (d *demo) CompensateBar(ctx context.Context, input map[string]any) (map[string]any, error) {
	return d.do(ctx, "compensateBar", input)
}

// RandomExceptionMethod fails in two ways by turns.
func (d *demo) RandomExceptionMethod(map[string]any) (map[string]any, error) {
	if d.calls.Add(1)%2 == 0 {
		return nil, demoError("randomExceptionMethod")
	}
	return nil, fmt.Errorf("connect: %w", syscall.ECONNREFUSED)
}

type people struct {
	Name          string            `json:"name"`
	Age           int               `json:"age"`
	ChildrenArray []people          `json:"childrenArray,omitempty"`
	ChildrenList  []people          `json:"childrenList,omitempty"`
	ChildrenMap   map[string]people `json:"childrenMap,omitempty"`
}

func (d *demo) ComplexParameterMethod(_ string, _ int, p people, _, _ []people, _ map[string]people) people {
	return p
}

func (d *demo) InterfaceParameterMethod(career any) any { return career }
