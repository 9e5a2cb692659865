// Package barrier is for participants that are only HTTP or gRPC: they have no
// connection to a coordinator, and are called by a service that has one, through
// package rm/tcc/remote.
//
// Job: read from a call's headers which branch it is for and what is asked; run
// the participant's function at most once for it, whatever is repeated, missing
// or late.
// Owner: the participant. Programs in other languages read the same headers.
// It must not know: coordinators or connections to them.
package barrier

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

// Headers of a call. In gRPC they are metadata, in lower case.
const (
	HeaderXID    = "Qiao-Xid"
	HeaderBranch = "Qiao-Branch"
	HeaderOp     = "Qiao-Op"
	// HeaderAction names the caller's resource, for people who read the table.
	HeaderAction = "Qiao-Action"
)

// Op is what a call asks for.
type Op string

// The operations.
const (
	Try     Op = "try"
	Confirm Op = "confirm"
	Cancel  Op = "cancel"
)

// Barrier is what a call's headers say.
type Barrier struct {
	XID    string
	Branch int64
	Op     Op
	Action string
}

// ErrNoBarrier: a call's headers do not say which branch it is for. It did not
// come through package remote, or a proxy drops the headers.
var ErrNoBarrier = errors.New("the call has no barrier headers")

// maxText bounds an XID, and an action as the fence table keeps it.
const (
	maxXID    = 128
	maxAction = 64
)

// FromHeader reads the headers of an HTTP request.
func FromHeader(h http.Header) (Barrier, error) {
	return read(func(name string) []string { return h.Values(name) })
}

// FromMetadata reads the metadata of a gRPC call, a metadata.MD.
func FromMetadata(md map[string][]string) (Barrier, error) {
	return read(func(name string) []string { return md[strings.ToLower(name)] })
}

func read(values func(name string) []string) (b Barrier, err error) {
	texts := make(map[string]string, 4)
	for _, name := range []string{HeaderXID, HeaderBranch, HeaderOp, HeaderAction} {
		v := values(name)
		switch {
		case len(v) == 0 && name != HeaderAction:
			return b, fmt.Errorf("%w: %s is missing", ErrNoBarrier, name)
		case len(v) > 1:
			return b, fmt.Errorf("%w: %s is there %d times", ErrNoBarrier, name, len(v))
		case len(v) == 1:
			texts[name] = v[0]
		}
	}
	b = Barrier{XID: texts[HeaderXID], Op: Op(texts[HeaderOp]), Action: texts[HeaderAction]}
	if b.XID == "" || len(b.XID) > maxXID {
		return b, fmt.Errorf("%w: %s has %d bytes: want 1 to %d", ErrNoBarrier, HeaderXID, len(b.XID), maxXID)
	}
	if len(b.Action) > maxAction {
		return b, fmt.Errorf("%w: %s has %d bytes: want at most %d", ErrNoBarrier, HeaderAction, len(b.Action), maxAction)
	}
	if b.Branch, err = strconv.ParseInt(texts[HeaderBranch], 10, 64); err != nil {
		return b, fmt.Errorf("%w: %s %q is no number", ErrNoBarrier, HeaderBranch, texts[HeaderBranch])
	}
	if b.Op != Try && b.Op != Confirm && b.Op != Cancel {
		return b, fmt.Errorf("%w: %s %q: want try, confirm or cancel", ErrNoBarrier, HeaderOp, b.Op)
	}
	return b, nil
}

// Set writes the headers of a call.
func (b Barrier) Set(h http.Header) {
	h.Set(HeaderXID, b.XID)
	h.Set(HeaderBranch, strconv.FormatInt(b.Branch, 10))
	h.Set(HeaderOp, string(b.Op))
	h.Set(HeaderAction, b.Action)
}

// Do runs fn in a local transaction of f's database, together with the record
// that fn has run for this branch and operation, and commits it. A repeated
// confirm or cancel, and a cancel whose try never came, return nil without fn.
// What can never succeed answers true to Never. All other errors may be tried
// again with the same call.
func (b Barrier) Do(ctx context.Context, f *fence.Fence, fn func(tx *sql.Tx) error) error {
	branch := rm.Branch{XID: b.XID, ID: b.Branch, Type: protocol.TypeTCC, ResourceID: b.Action}
	switch b.Op {
	case Try:
		return f.Try(ctx, branch, fn)
	case Confirm:
		return f.Confirm(ctx, branch, fn)
	case Cancel:
		return f.Cancel(ctx, branch, fn)
	}
	return fmt.Errorf("%w: operation %q", ErrNoBarrier, b.Op)
}

type refused struct{ error }

func (r refused) Unwrap() error { return r.error }

// Refuse marks an error of a try as the participant's final no, such as "not
// enough in stock": the transaction rolls back. It returns nil for nil.
func Refuse(err error) error {
	if err == nil {
		return nil
	}
	return refused{err}
}

// Never tells whether repeating the call is of no use: a participant answers it
// with 409 Conflict, or the gRPC status ABORTED.
func Never(err error) bool {
	var r refused
	return errors.As(err, &r) || errors.Is(err, fence.ErrSuspended) || errors.Is(err, fence.ErrContradiction)
}

// Handler serves the three operations of an action over HTTP: it reads the
// barrier, runs fn by it, and answers 204, 400 without a barrier, 409 with what
// Never answers true to, and 500 with other errors, which the caller repeats.
// An error's text goes to the caller.
func Handler(f *fence.Fence, fn func(tx *sql.Tx, b Barrier, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := FromHeader(r.Header)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		err = b.Do(r.Context(), f, func(tx *sql.Tx) error { return fn(tx, b, r) })
		switch {
		case err == nil:
			w.WriteHeader(http.StatusNoContent)
		case Never(err):
			http.Error(w, err.Error(), http.StatusConflict)
		default:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
}
