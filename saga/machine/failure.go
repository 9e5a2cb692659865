package machine

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/saga/statelang"
)

// Network says how an error of the network came about.
type Network uint8

// What an error says about the network.
const (
	NoNetwork Network = iota
	// NotSent: no connection, so the service did nothing.
	NotSent
	// NoAnswer: the request was sent; the service may have done its work.
	NoAnswer
)

// Failure is an error as state machines see it: by the names that Catch, Retry
// and $Exception{…} may use.
type Failure struct {
	// Class is the error's own name; Also are further names that it goes by, such
	// as its base classes.
	Class   string
	Also    []string
	Message string
	Network Network
	// Expired: the transaction's own time is over.
	Expired bool
}

// Names that stand for any error, as in Java.
var anyError = []string{"java.lang.Throwable", "java.lang.Exception"}

// Error is the class and the message.
func (f *Failure) Error() string {
	if f.Class == "" {
		return f.Message
	}
	return f.Class + ": " + f.Message
}

// Matches tells whether the error goes by a name.
func (f *Failure) Matches(name string) bool {
	name = strings.TrimSpace(name)
	return name == f.Class || slices.Contains(f.Also, name) || slices.Contains(anyError, name)
}

func (f *Failure) isAny(names []string) bool { return slices.ContainsFunc(names, f.Matches) }

// engineError is the class of the errors that Seata's engine itself throws.
const engineError = "org.apache.seata.saga.engine.exception.EngineExecutionException"

func fault(message string) *Failure {
	return &Failure{Class: engineError, Also: []string{"java.lang.RuntimeException"}, Message: message}
}

// Attempts counts how often each rule of a state's Retry was used. It belongs to
// one call.
type Attempts []int

// Next tells whether to call again after f, and after how long. As in Seata the
// n-th wait is n times BackoffRate, not a power of it
// (SpringBeanServiceInvoker.doInvoke).
func (a *Attempts) Next(rules []statelang.Retry, f *Failure) (wait time.Duration, again bool) {
	for i, r := range rules {
		if !matchesRetry(r, f) {
			continue
		}
		for len(*a) <= i {
			*a = append(*a, 0)
		}
		n := (*a)[i]
		if n >= r.MaxAttempts {
			return 0, false
		}
		(*a)[i]++
		seconds := r.IntervalSeconds
		if n > 0 {
			seconds *= r.BackoffRate * float64(n)
		}
		return time.Duration(math.Min(seconds, 1e6) * float64(time.Second)), true
	}
	return 0, false
}

func matchesRetry(r statelang.Retry, f *Failure) bool {
	if len(r.Exceptions) == 0 {
		return f.Network != NoNetwork
	}
	return f.isAny(r.Exceptions)
}
