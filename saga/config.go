package saga

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/saga/sagalog"
)

// Config says how an Engine works.
type Config struct {
	// Store keeps the log. Required. The engine does not close it.
	Store sagalog.Store
	// Tenant separates machines and instances of one store. Default "000001", as
	// in Seata.
	Tenant string
	// Application stands beside the definitions in the store. Default: that of the
	// Coordinator.
	Application string
	// Coordinator makes each saga a global transaction. It is client.Client.Saga().
	// Its orders reach any engine of the same application and group, so all of
	// them need the same store.
	Coordinator Coordinator
	// Timeout bounds a saga from its start, or from where it was taken up again.
	// Default 30 min.
	Timeout time.Duration
	// InvokeTimeout bounds one call of a service. Default 5 min.
	InvokeTimeout time.Duration
	// RetryUpdate and CompensateUpdate: a retry, or a repeated compensation, uses
	// the row of the one before, in machines that do not say
	// (client.rm.sagaRetryPersistModeUpdate, …sagaCompensatePersistModeUpdate).
	RetryUpdate, CompensateUpdate bool
	// NoBranches: states are not registered as branches
	// (client.rm.sagaBranchRegisterEnable, whose default is false; here the
	// default is to register, so that the coordinator's console shows them).
	NoBranches bool
	// ReportSuccess: branches that succeeded are reported too
	// (client.rm.reportSuccessEnable).
	ReportSuccess bool
	// MaxResult bounds the result of a service, as JSON in bytes: a longer one is an
	// error of the class ResultTooLong. Default 65,535, what Seata's tables take on
	// MySQL.
	MaxResult int
	// Parallel is how many instances are recovered at once. Default 256.
	Parallel int
	// Invokers call services by the ServiceType of their states. The types "" and
	// "SpringBean" are functions of this process (Engine.Func, Engine.Service).
	Invokers map[string]Invoker
	// Scripts run a ScriptTask by its ScriptType. "groovy" is there already.
	Scripts map[string]ScriptRunner
	// ErrorNames give errors the names that Catch, Retry and $Exception{…} use: an
	// error that wraps the value goes by the key.
	ErrorNames map[string]error
	// Logger gets what nobody else is told. Default slog.Default().
	Logger *slog.Logger
}

func (c *Config) complete() error {
	if c.Store == nil {
		return errors.New("saga: Config.Store is missing; sagalog.OpenSQL makes one")
	}
	if c.Coordinator != nil && c.Application == "" {
		c.Application, _ = c.Coordinator.Identity()
	}
	for name, d := range map[string]*time.Duration{"Timeout": &c.Timeout, "InvokeTimeout": &c.InvokeTimeout} {
		if *d < 0 {
			return fmt.Errorf("saga: Config.%s %v: want more than 0", name, *d)
		}
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Minute
	}
	if c.InvokeTimeout == 0 {
		c.InvokeTimeout = 5 * time.Minute
	}
	if c.MaxResult <= 0 {
		c.MaxResult = 1<<16 - 1
	}
	if c.Tenant == "" {
		c.Tenant = "000001"
	}
	if c.Parallel <= 0 {
		c.Parallel = 256
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// Coordinator is what an engine asks of the transaction coordinator.
type Coordinator interface {
	rm.Coordinator
	// Identity returns the application and the group of the client.
	Identity() (application, group string)
	// Begin starts a global transaction and returns its XID.
	Begin(ctx context.Context, name string, timeout time.Duration) (string, error)
	// Report tells how the saga stands and returns what the coordinator makes of it.
	Report(ctx context.Context, xid string, status protocol.GlobalStatus) (protocol.GlobalStatus, error)
}

// Invoker calls services of one type. Its methods are called concurrently.
type Invoker interface {
	// Invoke calls the service and returns its result: a value that encoding/json
	// can write, or nil. An error that is an *Exception has the class and the rest
	// that it says; any other is classified by what it wraps.
	Invoke(ctx context.Context, r Request) (any, error)
}

// Request is a call of a service.
type Request struct {
	// Service, Method, Type and ParameterTypes stand so in the state.
	Service, Method, Type string
	ParameterTypes        []string
	// Input are the arguments, made of JSON's values.
	Input []any
	Call  Call
}

// Call tells a service which run it is part of.
type Call struct {
	// Instance is the saga's id, which is its XID under a coordinator; for a
	// machine in a machine it is the inner instance's.
	Instance string
	// XID is the global transaction, or empty.
	XID string
	// State is the state's name.
	State string
	// Key is equal for all calls of a run, its retries and repetitions after a
	// crash, and different for all else: services recognise repetitions by it.
	Key string
	// Compensates is the Key of the run that this one undoes, or empty.
	Compensates string
	// Attempt counts from 1.
	Attempt int
}

// ScriptRunner runs a script with variables and returns its result.
type ScriptRunner func(ctx context.Context, source string, variables map[string]any) (any, error)

type callKey struct{}

// FromContext returns the Call that a service function serves.
func FromContext(ctx context.Context) (Call, bool) {
	c, ok := ctx.Value(callKey{}).(Call)
	return c, ok
}
