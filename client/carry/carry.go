// Package carry is how a global transaction travels with a call, whatever
// framework carries it.
//
// Job: say what a caller writes; judge what a callee received, by one Policy for
// HTTP, gRPC, Connect, Dubbo and Triple alike.
// Owner: the package of each framework, which moves keys and values between its
// messages and this one.
// It must not know: any framework, connections, or what a transaction does.
//
// A call carries two plain strings, under Seata's keys: TX_XID, the transaction,
// and TX_BRANCH_TYPE, which is TCC for a call made inside a try and AT otherwise.
// A package of a framework does this and no more:
//
//   - Calling: [From] the call's context. Outside a transaction the call is sent
//     as it is, less what the framework forwards unasked. Otherwise delete what the message has under any key for which
//     [IsKey] holds, in any letter case, so that nothing forwarded competes, then
//     write [Call.XID] under xid.Key and [Call.BranchType] under
//     xid.KeyBranchType. Everything else in the message stays.
//   - Called: give every key and every value of the message to [Received.Add], then
//     call the handler with the context that [Policy.Join] returns. On an error do
//     not call the handler: answer that the request is invalid (HTTP 400, gRPC
//     INVALID_ARGUMENT), with the error's text.
//
// The context that the handler gets is the call's own, so nothing is to be
// restored afterwards, whichever goroutine serves the next call. A stream's
// context is judged once, before its first message, and holds until it ends.
// docs/propagation.md is the whole story.
package carry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// legacyKey is read as well: dubbo-go's own filter and seata-go write it.
const legacyKey = "SEATA_XID"

// What may be wrong with what a call brought. Repeating the call as it is never
// helps.
var (
	// ErrMalformed: it is no XID, or no string.
	ErrMalformed = xid.ErrMalformed
	// ErrAmbiguous: it names more than one transaction.
	ErrAmbiguous = errors.New("more than one transaction")
	// ErrForeign: the transaction is another coordinator's than Policy allows.
	ErrForeign = errors.New("a transaction of a foreign coordinator")
)

// Call is what a call carries.
type Call struct {
	// XID is the global transaction.
	XID string
	// BranchType is the type of branch that the caller's work belongs to.
	BranchType string
}

// From returns what a call made with ctx carries; ok is false outside a global
// transaction.
func From(ctx context.Context) (c Call, ok bool) {
	c = Call{XID: xid.FromContext(ctx), BranchType: xid.BranchType(ctx)}
	return c, c.XID != ""
}

// IsKey tells whether a value under key, in any letter case, belongs to what a
// call carries.
func IsKey(key string) bool { return isXIDKey(key) || strings.EqualFold(key, xid.KeyBranchType) }

func isXIDKey(key string) bool {
	return strings.EqualFold(key, xid.Key) || strings.EqualFold(key, legacyKey)
}

// Policy says how what was received is treated. The zero value joins the
// transactions of every coordinator and refuses what cannot be joined. An XID is
// believed: let only callers in who may take part in transactions.
type Policy struct {
	// Coordinators are the addresses, host:port, as the coordinators advertise
	// them, whose transactions may be joined. Those of others are foreign. Empty
	// means any.
	Coordinators []string
	// IgnoreMalformed: a call whose XID is malformed, ambiguous or foreign is
	// handled outside of any transaction. Otherwise it is refused, because the
	// caller believes that its work is part of one.
	IgnoreMalformed bool
}

// Received gathers what came with one call. The zero value is ready.
type Received struct {
	xids  []string
	types []string
	odd   error // the first value that is no string, or too long
}

// Add notes a key, in any letter case, and its value; keys that are not the
// transaction's are ignored. Dubbo's attachments may be of any type: a string or
// several of them, []string or []any, are taken, anything else is malformed.
// Values that a proxy joined with commas count as several.
func (r *Received) Add(key string, value any) {
	if !IsKey(key) {
		return
	}
	switch value := value.(type) {
	case nil:
	case string:
		r.add(key, value)
	case []string:
		for _, one := range value {
			r.add(key, one)
		}
	case []any:
		for _, one := range value {
			if _, nested := one.([]any); nested {
				r.reject(key, one)
				continue
			}
			r.Add(key, one)
		}
	default:
		r.reject(key, value)
	}
}

// maxValue caps a value under one key, in bytes: some XIDs that a proxy joined.
const maxValue = 1024

func (r *Received) add(key, value string) {
	if len(value) > maxValue {
		r.refuse(key, fmt.Sprintf("a value of %d bytes", len(value)))
		return
	}
	for one := range strings.SplitSeq(value, ",") {
		one = strings.TrimSpace(one)
		if isXIDKey(key) {
			r.xids = append(r.xids, one)
		} else {
			r.types = append(r.types, one)
		}
	}
}

func (r *Received) reject(key string, value any) {
	r.refuse(key, fmt.Sprintf("a value of type %T", value))
}

func (r *Received) refuse(key, what string) {
	if r.odd == nil {
		r.odd = fmt.Errorf("%s: %w: %s; send one string", strings.ToUpper(key), ErrMalformed, what)
	}
}

// Join returns the context for a call's handler: in the transaction that was
// received, or in none if none was. An error means that the call must be refused;
// it wraps ErrMalformed, ErrAmbiguous or ErrForeign, and names key, value and
// remedy.
func (p Policy) Join(ctx context.Context, r *Received) (context.Context, error) {
	c, err := r.call()
	if err == nil && c.XID != "" {
		err = p.admit(c.XID)
	}
	switch {
	case err == nil && c.XID == "":
		return ctx, nil
	case err == nil:
		return xid.WithBranchType(xid.NewContext(ctx, c.XID), c.BranchType), nil
	case p.IgnoreMalformed:
		return xid.NewContext(ctx, ""), nil
	}
	return nil, err
}

// call returns the one transaction that was received, if any. The same XID twice,
// as two interceptors or a gateway may send it, is one transaction.
func (r *Received) call() (Call, error) {
	if r.odd != nil {
		return Call{}, r.odd
	}
	if len(r.xids) == 0 {
		return Call{}, nil
	}
	x := r.xids[0]
	for _, other := range r.xids {
		if err := check(other); err != nil {
			return Call{}, fmt.Errorf("%s: %w; send the XID as the transaction's begin returned it", xid.Key, err)
		}
		if other != x {
			return Call{}, fmt.Errorf("%s: %w: %s and %s; send one", xid.Key, ErrAmbiguous, x, other)
		}
	}
	for _, other := range r.types {
		if other != r.types[0] {
			return Call{}, fmt.Errorf("%s: %w: branch types %.40q and %.40q; send one", xid.KeyBranchType, ErrAmbiguous, r.types[0], other)
		}
	}
	c := Call{XID: x, BranchType: xid.TypeAT}
	if len(r.types) > 0 { // Java's filters take notice of TCC only
		switch r.types[0] {
		case xid.TypeTCC, xid.TypeSaga, xid.TypeSagaAnnotation:
			c.BranchType = r.types[0]
		}
	}
	return c, nil
}

// check reports what is no XID, or none that every framework can carry on: headers
// take printable ASCII only.
func check(x string) error {
	if _, _, err := xid.Parse(x); err != nil {
		return err
	}
	if strings.ContainsFunc(x, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("%w %q: want printable ASCII without spaces", ErrMalformed, x)
	}
	return nil
}

func (p Policy) admit(x string) error {
	if len(p.Coordinators) == 0 {
		return nil
	}
	address, _, err := xid.Parse(x)
	if err != nil {
		return err
	}
	if !slices.Contains(p.Coordinators, address) {
		return fmt.Errorf("%s %s: %w: %s is none of %s; call a service of that coordinator, or allow it here",
			xid.Key, x, ErrForeign, address, strings.Join(p.Coordinators, ", "))
	}
	return nil
}
