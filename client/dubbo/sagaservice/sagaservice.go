// Package sagaservice calls the services of sagas over Dubbo, by generic calls:
// without the interfaces of the providers, which may be Java's or Go's.
//
// Job: a state's call as a generic call, its answer as JSON's values or as an error
// that Catch, Retry and Status can name by the provider's exception.
// Owner: the application puts an Invoker into saga.Config.Invokers, under the
// ServiceType that its machines use.
// It must not know: states, instances, the log.
package sagaservice

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failfast" // the cluster of every reference here
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/filter/generic"
	hessian "github.com/apache/dubbo-go-hessian2"
	"github.com/apache/dubbo-go-hessian2/java_exception"

	"github.com/qiao-tx/qiao/client/dubbo"
	"github.com/qiao-tx/qiao/saga"
)

// Attachments that every call has beside the XID.
const (
	// AttachmentKey is saga.Call.Key: equal for all calls of one run of a state.
	AttachmentKey = "idempotency-key"
	// AttachmentInstance, AttachmentState and AttachmentCompensates are the fields
	// of saga.Call; the state's name is escaped as in a URL's path.
	AttachmentInstance    = "qiao-saga"
	AttachmentState       = "qiao-saga-state"
	AttachmentCompensates = "qiao-saga-compensates"
)

// Config says how services are reached.
type Config struct {
	// NewClient makes a client of dubbo-go; it is called once for each service, as
	// dubbo-go's clients keep the options of one reference for the next. Default:
	// client.NewClient without options.
	NewClient func() (*client.Client, error)
	// Services are the references by the ServiceName of states, such as
	// client.WithURL, WithVersion and WithProtocolDubbo. A ServiceName that
	// client.WithInterface does not replace is the interface's name.
	Services map[string][]client.ReferenceOption
	// Others are the options of services that Services does not list. If it is nil
	// these are refused.
	Others []client.ReferenceOption
}

// Invoker calls services by generic calls. ServiceMethod is the method,
// ParameterTypes are its parameters' types as Java writes them, Input is the
// arguments. Providers in Go need no ParameterTypes. It is safe for concurrent use.
//
// A call is sent once, also outside of a transaction: a state's Retry repeats it. Its
// time-out is the context's, which the engine takes from saga.Config.InvokeTimeout.
type Invoker struct {
	cfg Config
	// made are the services by name, *generic.GenericService.
	made sync.Map
	// making is held by who makes a reference: dubbo-go has no lock there.
	making chan struct{}
}

// New returns an Invoker. Call dubbo.Register before its first call. References are
// made when they are first needed, and live as long as the process: dubbo-go ends
// them with its protocols.
func New(cfg Config) *Invoker {
	if cfg.NewClient == nil {
		cfg.NewClient = func() (*client.Client, error) { return client.NewClient() }
	}
	return &Invoker{cfg: cfg, making: make(chan struct{}, 1)}
}

// Invoke implements saga.Invoker.
func (i *Invoker) Invoke(ctx context.Context, r saga.Request) (any, error) {
	if n := len(r.ParameterTypes); n > 0 && n != len(r.Input) {
		return nil, wrong(fmt.Errorf("service %q, method %q: %d ParameterTypes for %d inputs; give each input its type",
			r.Service, r.Method, n, len(r.Input)))
	}
	args, err := arguments(r.Input)
	if err != nil {
		return nil, wrong(fmt.Errorf("service %q, method %q: %w", r.Service, r.Method, err))
	}
	service, err := i.service(ctx, r.Service)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, notSent(fmt.Errorf("service %q: %w", r.Service, err))
	}
	types := append([]string{}, r.ParameterTypes...) // triple takes no nil
	answer, err := service.Invoke(withCall(ctx, r.Call), r.Method, types, args)
	if thrown, ok := answer.(java_exception.Throwabler); ok && err == nil {
		err = thrown // over triple an exception of Java's comes as the result
	}
	if err != nil {
		return nil, refusal(r, err)
	}
	return plain(answer, 0)
}

// service returns the reference, and makes it if it is not there.
func (i *Invoker) service(ctx context.Context, name string) (*generic.GenericService, error) {
	if s, ok := i.made.Load(name); ok {
		return s.(*generic.GenericService), nil
	}
	options, known := i.cfg.Services[name]
	if !known {
		options = i.cfg.Others
	}
	if !known && options == nil {
		return nil, wrong(fmt.Errorf("service %q: no such reference; add it to sagaservice.Config.Services", name))
	}
	select {
	case i.making <- struct{}{}:
		defer func() { <-i.making }()
	case <-ctx.Done():
		return nil, notSent(fmt.Errorf("service %q: %w", name, ctx.Err()))
	}
	if s, ok := i.made.Load(name); ok {
		return s.(*generic.GenericService), nil
	}
	s, err := i.refer(name, options)
	if err != nil {
		return nil, notSent(fmt.Errorf("service %q: %w", name, err))
	}
	i.made.Store(name, s)
	return s, nil
}

// refer makes a reference. dubbo-go panics where nobody answers at a reference's URL,
// and where a part of it is not imported.
func (i *Invoker) refer(name string, options []client.ReferenceOption) (s *generic.GenericService, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("make the reference: no provider answers, or a part of dubbo-go is not imported: %v", v)
		}
	}()
	c, err := i.cfg.NewClient()
	if err != nil {
		return nil, fmt.Errorf("make the client: %w", err)
	}
	all := append(slices.Clone(options), client.WithClusterFailFast(), client.WithRetries(0), withFilter)
	if s, err = c.NewGenericService(name, all...); err != nil {
		return nil, fmt.Errorf("make the reference: %w", err)
	}
	return s, nil
}

// withFilter adds the filter that sends the transaction along to those of a reference.
func withFilter(o *client.ReferenceOptions) {
	switch names := strings.Split(o.Reference.Filter, ","); {
	case o.Reference.Filter == "":
		o.Reference.Filter = dubbo.ConsumerFilter
	case !slices.Contains(names, dubbo.ConsumerFilter):
		o.Reference.Filter += "," + dubbo.ConsumerFilter
	}
}

// withCall adds what the provider is told, and the time-out, which the protocol dubbo
// does not take from a context. Attachments that ctx has already stay.
func withCall(ctx context.Context, c saga.Call) context.Context {
	all := map[string]any{}
	switch before := ctx.Value(constant.AttachmentKey).(type) {
	case map[string]any:
		maps.Copy(all, before)
	case map[string]string:
		for key, v := range before {
			all[key] = v
		}
	}
	for key, v := range map[string]string{AttachmentKey: c.Key, AttachmentInstance: c.Instance,
		AttachmentState: url.PathEscape(c.State), AttachmentCompensates: c.Compensates} {
		if v != "" {
			all[key] = v
		}
	}
	if end, ok := ctx.Deadline(); ok {
		all[constant.TimeoutKey] = max(time.Until(end), time.Millisecond).String()
	}
	return context.WithValue(ctx, constant.AttachmentKey, all)
}

// arguments are the inputs in types that Hessian has.
func arguments(input []any) ([]hessian.Object, error) {
	args := make([]hessian.Object, len(input))
	for n, v := range input {
		own, err := plain(v, 0)
		if err != nil {
			return nil, fmt.Errorf("input %d: %w", n, err)
		}
		args[n] = own
	}
	return args, nil
}
