package hessian

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

// Append appends the body of m to dst, with the class names of a peer's Java
// package. It only reads m. The error is a *codec.Error, because of
// ErrUnknownType (a Heartbeat too: it has no body), ErrNested, ErrTooLong or
// ErrInvalid; dst is then unchanged.
func Append(dst []byte, m protocol.Message, names codec.Names) ([]byte, error) {
	w := writer{b: dst, names: names}
	w.message(m)
	if w.err != nil {
		return dst, &codec.Error{Op: "encode", Type: m.TypeCode(), Offset: len(w.b) - len(dst), Err: w.err}
	}
	return w.b, nil
}

// Decode reads the message of body, of which the result keeps nothing, and the
// Java package of its class. The error is a *codec.Error, because of
// ErrTruncated, ErrUnknownType, ErrNested, ErrTooLong or ErrInvalid.
func Decode(body []byte) (protocol.Message, codec.Names, error) {
	r := reader{b: body}
	if bytes.Contains(body[:min(len(body), namesWithin)], []byte(codec.IO.String()+".core.")) {
		r.names = codec.IO
	}
	m := r.message()
	if r.err == nil && m == nil {
		r.fail(codec.ErrInvalid, "null, or a reference, where a message belongs")
	}
	if r.err != nil {
		e := &codec.Error{Op: "decode", Offset: r.pos, Err: r.err}
		if r.outermost != nil {
			e.Type = r.outermost.TypeCode()
		}
		return nil, r.names, e
	}
	return m, r.names, nil
}

// namesWithin is where a body shows its Java package: after the tag and the
// length of the first class name.
const namesWithin = 20

// MaxMerged is the highest number of messages within one, as in the seata codec.
const MaxMerged = 1<<15 - 1

// class is a class of messages.
type class struct {
	code protocol.TypeCode
	// name lacks the Java package and ".core.protocol.".
	name string
}

// classes are all of them. Nobody writes to them.
var classes = [...]class{
	{protocol.TypeGlobalBegin, "transaction.GlobalBeginRequest"},
	{protocol.TypeGlobalBeginResult, "transaction.GlobalBeginResponse"},
	{protocol.TypeGlobalCommit, "transaction.GlobalCommitRequest"},
	{protocol.TypeGlobalCommitResult, "transaction.GlobalCommitResponse"},
	{protocol.TypeGlobalRollback, "transaction.GlobalRollbackRequest"},
	{protocol.TypeGlobalRollbackResult, "transaction.GlobalRollbackResponse"},
	{protocol.TypeGlobalStatus, "transaction.GlobalStatusRequest"},
	{protocol.TypeGlobalStatusResult, "transaction.GlobalStatusResponse"},
	{protocol.TypeGlobalReport, "transaction.GlobalReportRequest"},
	{protocol.TypeGlobalReportResult, "transaction.GlobalReportResponse"},
	{protocol.TypeGlobalLockQuery, "transaction.GlobalLockQueryRequest"},
	{protocol.TypeGlobalLockResult, "transaction.GlobalLockQueryResponse"},
	{protocol.TypeBranchRegister, "transaction.BranchRegisterRequest"},
	{protocol.TypeBranchRegisterResult, "transaction.BranchRegisterResponse"},
	{protocol.TypeBranchReport, "transaction.BranchReportRequest"},
	{protocol.TypeBranchReportResult, "transaction.BranchReportResponse"},
	{protocol.TypeBranchCommit, "transaction.BranchCommitRequest"},
	{protocol.TypeBranchCommitResult, "transaction.BranchCommitResponse"},
	{protocol.TypeBranchRollback, "transaction.BranchRollbackRequest"},
	{protocol.TypeBranchRollbackResult, "transaction.BranchRollbackResponse"},
	{protocol.TypeUndoLogDelete, "transaction.UndoLogDeleteRequest"},
	{protocol.TypeRegisterTM, "RegisterTMRequest"},
	{protocol.TypeRegisterTMResult, "RegisterTMResponse"},
	{protocol.TypeRegisterRM, "RegisterRMRequest"},
	{protocol.TypeRegisterRMResult, "RegisterRMResponse"},
	{protocol.TypeUnregisterRM, "UnregisterRMRequest"},
	{protocol.TypeUnregisterRMResult, "UnregisterRMResponse"},
	{protocol.TypeMerged, "MergedWarpMessage"},
	{protocol.TypeMergedResult, "MergeResultMessage"},
	{protocol.TypeBatchResult, "BatchResultMessage"},
}

func classPrefix(names codec.Names) string { return names.String() + ".core.protocol." }

func classNameOf(code protocol.TypeCode, names codec.Names) string {
	for _, c := range classes {
		if c.code == code {
			return classPrefix(names) + c.name
		}
	}
	return ""
}

// newMessage returns an empty message of the class, or nil.
func newMessage(className string, names codec.Names) protocol.Message {
	name, ok := strings.CutPrefix(className, classPrefix(names))
	if !ok {
		return nil
	}
	for _, c := range classes {
		if c.name == name {
			return protocol.New(c.code)
		}
	}
	return nil
}

// field is one field of a class. Its value is a pointer to the message's own, or
// nil for one that is always null.
type field struct {
	name  string
	value any
}

// messageList is a list of messages; array says that Java has it as an array.
type messageList struct {
	messages *[]protocol.Message
	array    bool
}

func wrapf(sentinel error, format string, args ...any) error {
	return fmt.Errorf("%w: %s", sentinel, fmt.Sprintf(format, args...))
}
