// Package xid is the identity of a global transaction, and the ways it travels
// inside a process and between processes.
//
// Job: build and parse XIDs, carry one and its branch type in a context, name the
// header and attachment keys.
// Owner: whoever begins or joins a global transaction.
// It must not know: messages, connections, what a transaction does.
package xid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MaxLen is the longest XID in bytes. XA's gtrid sets the limit.
const MaxLen = 64

// Keys under which an XID and its branch type travel in headers, metadata and
// attachments. They are Seata's; readers must accept any letter case.
const (
	Key           = "TX_XID"
	KeyBranchType = "TX_BRANCH_TYPE"
)

// Branch types that a call carries under KeyBranchType. What is written under one of
// the last three is taken back by the application's own functions.
const (
	TypeAT             = "AT"
	TypeTCC            = "TCC"
	TypeSaga           = "SAGA"
	TypeSagaAnnotation = "SAGA_ANNOTATION"
)

// ErrMalformed reports a string that is no XID of the form host:port:id.
var ErrMalformed = errors.New("malformed XID")

// New builds the XID of transaction id, begun by the coordinator at address
// (host:port).
func New(address string, id int64) string {
	return address + ":" + strconv.FormatInt(id, 10)
}

// Parse splits an XID at its last colon into the coordinator's address and the
// transaction id. The error wraps ErrMalformed.
func Parse(x string) (address string, id int64, err error) {
	if len(x) > MaxLen {
		return "", 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrMalformed, len(x), MaxLen)
	}
	i := strings.LastIndexByte(x, ':')
	if i <= 0 || strings.IndexByte(x[:i], ':') < 0 {
		return "", 0, fmt.Errorf("%w %q: want host:port:id", ErrMalformed, x)
	}
	if id = parseID(x[i+1:]); id <= 0 {
		return "", 0, fmt.Errorf("%w %q: the id after the last colon is no positive number", ErrMalformed, x)
	}
	return x[:i], id, nil
}

// parseID returns the number in s, digits only, or 0 when there is none or it does
// not fit. Every look-up of a transaction needs it.
func parseID(s string) int64 {
	if len(s) > len("9223372036854775807") {
		return 0
	}
	var n uint64 // 19 digits fit
	for i := range len(s) {
		digit := s[i] - '0'
		if digit > 9 {
			return 0
		}
		n = n*10 + uint64(digit)
	}
	if n > math.MaxInt64 {
		return 0
	}
	return int64(n)
}

type contextKey struct{}

// carried is what a context holds: a branch type belongs to its transaction.
type carried struct{ xid, branchType string }

// NewContext returns a context that carries the global transaction x. An empty
// x hides a transaction that ctx carries: work done with the result is outside
// of it.
func NewContext(ctx context.Context, x string) context.Context {
	return context.WithValue(ctx, contextKey{}, carried{xid: x})
}

// FromContext returns the XID that ctx carries, or "" outside a global
// transaction.
func FromContext(ctx context.Context) string {
	c, _ := ctx.Value(contextKey{}).(carried)
	return c.xid
}

// WithBranchType returns a context for the same global transaction whose work
// belongs to a branch of that type, named as Seata names it, as in Java's
// RootContext: what a TCC try writes is taken back by its cancel, so AT must not
// undo it as well. It returns ctx outside a transaction.
func WithBranchType(ctx context.Context, branchType string) context.Context {
	x := FromContext(ctx)
	if x == "" {
		return ctx
	}
	return context.WithValue(ctx, contextKey{}, carried{x, branchType})
}

// BranchType returns the type that WithBranchType gave the work of ctx, or "AT",
// which is Seata's default, or "" outside a global transaction.
func BranchType(ctx context.Context) string {
	c, _ := ctx.Value(contextKey{}).(carried)
	if c.xid != "" && c.branchType == "" {
		return TypeAT
	}
	return c.branchType
}
