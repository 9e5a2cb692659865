package saga

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"github.com/qiao-tx/qiao/saga/expression"
	"github.com/qiao-tx/qiao/saga/machine"
)

// Errors of an Engine. Match them with errors.Is; those of saga/sagalog and
// saga/machine come through as well.
var (
	// ErrRunning: the instance is running, here or in another process.
	ErrRunning = errors.New("the saga is running")
	// ErrClosed: the engine is closing. What it was running is gone on with when
	// an engine recovers it.
	ErrClosed = errors.New("the saga engine is closed")
	// ErrNoService: a state names a service that this engine does not have.
	ErrNoService = errors.New("no such service")
	// ErrFault: the machine itself is at fault, such as an expression that cannot
	// be evaluated. The instance has ended; its log tells how.
	ErrFault = errors.New("the state machine is at fault")
)

// Exception is an error that state machines know by its class.
type Exception struct {
	// Class is the name that Catch, Retry and $Exception{…} use; Also are further
	// ones, such as a base class. Every error goes by java.lang.Throwable and
	// java.lang.Exception.
	Class   string
	Also    []string
	Message string
	// NotSent: the service was not reached, so it did nothing. NoAnswer: it may
	// have done its work.
	NotSent, NoAnswer bool
	Cause             error
}

func (e *Exception) Error() string {
	if e.Message == "" && e.Cause != nil {
		return e.Cause.Error()
	}
	return e.Message
}

func (e *Exception) Unwrap() error { return e.Cause }

// Classes that errors of Go go by.
const (
	runtimeException = "java.lang.RuntimeException"
	socketTimeout    = "java.net.SocketTimeoutException"
	connectException = "java.net.ConnectException"
	ioException      = "java.io.IOException"
)

// failure classifies an error of a service.
func (e *Engine) failure(err error) *machine.Failure {
	f := &machine.Failure{Message: err.Error()}
	var known *machine.Failure
	var exception *Exception
	var thrown *expression.Thrown
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &exception):
		f.Class, f.Also = exception.Class, append(f.Also, exception.Also...)
		switch {
		case exception.NotSent:
			f.Network = machine.NotSent
		case exception.NoAnswer:
			f.Network = machine.NoAnswer
		}
	case errors.As(err, &thrown):
		f.Class, f.Message = thrown.Class, thrown.Message
		f.Also = append(f.Also, "java.lang."+thrown.Class)
	}
	for name, target := range e.cfg.ErrorNames {
		if errors.Is(err, target) {
			f.Also = append(f.Also, name)
		}
	}
	if f.Network == machine.NoNetwork {
		networkClasses(f, err)
	}
	names := append(f.Also, runtimeException, fmt.Sprintf("%T", err))
	if f.Class == "" {
		f.Class = names[0]
	}
	f.Also = nil
	for _, name := range names {
		if name != f.Class && !slices.Contains(f.Also, name) {
			f.Also = append(f.Also, name)
		}
	}
	return f
}

func networkClasses(f *machine.Failure, err error) {
	var dial *net.OpError
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.As(err, &dial) && dial.Op == "dial":
		f.Network = machine.NotSent
		f.Also = append(f.Also, connectException, ioException)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		f.Network = machine.NoAnswer
		f.Also = append(f.Also, socketTimeout, ioException)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		f.Network = machine.NoAnswer
		f.Also = append(f.Also, ioException)
	}
}
