// Package xid is the identity of a global transaction, and the ways it travels
// inside a process and between processes.
//
// Job: build and parse XIDs, carry one in a context, name the header and
// attachment keys.
// Owner: whoever begins or joins a global transaction.
// It must not know: messages, connections, what a transaction does.
package xid

import (
	"context"
	"errors"
	"fmt"
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
	id, err = strconv.ParseInt(x[i+1:], 10, 64)
	if err != nil || id <= 0 {
		return "", 0, fmt.Errorf("%w %q: the id after the last colon is no positive number", ErrMalformed, x)
	}
	return x[:i], id, nil
}

type contextKey struct{}

// NewContext returns a context that carries the global transaction x. An empty
// x hides a transaction that ctx carries: work done with the result is outside
// of it.
func NewContext(ctx context.Context, x string) context.Context {
	return context.WithValue(ctx, contextKey{}, x)
}

// FromContext returns the XID that ctx carries, or "" outside a global
// transaction.
func FromContext(ctx context.Context) string {
	x, _ := ctx.Value(contextKey{}).(string)
	return x
}
