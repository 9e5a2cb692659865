package pb

import (
	"encoding/binary"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

// nameLenBytes is the width of the length before the message's name.
const nameLenBytes = 4

// Append appends the body of m to dst, with the message names of a peer's Java
// package. It only reads m. The error is a *codec.Error, because of
// ErrUnknownType, ErrNested or ErrInvalid; dst is then unchanged.
func Append(dst []byte, m protocol.Message, names codec.Names) ([]byte, error) {
	c := coder{encoding: true, b: dst, names: names}
	c.typed(m)
	if c.err != nil {
		return dst, &codec.Error{Op: "encode", Type: m.TypeCode(), Offset: len(c.b) - len(dst), Err: c.err}
	}
	return c.b, nil
}

// Decode reads the message of body, of which the result keeps nothing, and the
// Java package of its name. The error is a *codec.Error, because of ErrTruncated,
// ErrUnknownType, ErrNested or ErrInvalid.
func Decode(body []byte) (protocol.Message, codec.Names, error) {
	c := coder{b: body}
	m := c.next()
	if c.err != nil {
		e := &codec.Error{Op: "decode", Offset: c.pos, Err: c.err}
		if m != nil {
			e.Type = m.TypeCode()
		}
		return nil, c.names, e
	}
	return m, c.names, nil
}

// typed appends the name of m and then m.
func (c *coder) typed(m protocol.Message) {
	name := nameOf(m.TypeCode())
	if name == "" {
		c.fail(codec.ErrUnknownType, "%T has no body in protobuf; set seata.transport.serialization=seata", m)
		return
	}
	prefix := prefixOf(c.names)
	c.b = binary.BigEndian.AppendUint32(c.b, uint32(len(prefix)+len(name)))
	c.b = append(append(c.b, prefix...), name...)
	c.message(m, 0, 0)
}

// next reads a name and the message that it names, which is not nil once the
// name is read.
func (c *coder) next() protocol.Message {
	if len(c.b) < nameLenBytes {
		c.fail(codec.ErrTruncated, "%d bytes where the length of a name has %d", len(c.b), nameLenBytes)
		return nil
	}
	n := binary.BigEndian.Uint32(c.b)
	c.pos = nameLenBytes
	if uint64(n) > uint64(len(c.b)-c.pos) {
		c.fail(codec.ErrTruncated, "a name of %d bytes, %d remain", n, len(c.b)-c.pos)
		return nil
	}
	name := c.b[c.pos : c.pos+int(n)]
	m, names := newMessage(name)
	if m == nil {
		c.unknownName(name)
		return nil
	}
	c.names = names
	c.message(m, c.pos+int(n), len(c.b))
	return m
}

func (c *coder) unknownName(name []byte) {
	c.fail(codec.ErrUnknownType, "%q; is the peer newer than Seata %s?", name[:min(len(name), maxName)], protocol.SeataVersion)
}

// maxName is how much of an unknown name an error shows.
const maxName = 120

const (
	apachePrefix = "org.apache.seata.protocol.protobuf."
	ioPrefix     = "io.seata.protocol.protobuf."
)

func prefixOf(n codec.Names) string {
	if n == codec.IO {
		return ioPrefix
	}
	return apachePrefix
}

// newMessage returns an empty message of the full name, or nil. Conversions to
// string that are only compared copy nothing.
func newMessage(fullName []byte) (protocol.Message, codec.Names) {
	for _, names := range [...]codec.Names{codec.Apache, codec.IO} {
		prefix := prefixOf(names)
		if len(fullName) < len(prefix) || string(fullName[:len(prefix)]) != prefix {
			continue
		}
		for _, k := range kinds {
			if k.name == string(fullName[len(prefix):]) {
				return protocol.New(k.code), names
			}
		}
	}
	return nil, codec.Apache
}

func nameOf(code protocol.TypeCode) string {
	for _, k := range kinds {
		if k.code == code {
			return k.name
		}
	}
	return ""
}

// kind is a message that the format has.
type kind struct {
	code protocol.TypeCode
	name string
}

// kinds are all of them, the most frequent first. Nobody writes to them.
var kinds = [...]kind{
	{protocol.TypeMerged, "MergedWarpMessageProto"},
	{protocol.TypeBranchRegister, "BranchRegisterRequestProto"},
	{protocol.TypeBranchRegisterResult, "BranchRegisterResponseProto"},
	{protocol.TypeGlobalBegin, "GlobalBeginRequestProto"},
	{protocol.TypeGlobalBeginResult, "GlobalBeginResponseProto"},
	{protocol.TypeGlobalCommit, "GlobalCommitRequestProto"},
	{protocol.TypeGlobalCommitResult, "GlobalCommitResponseProto"},
	{protocol.TypeBranchCommit, "BranchCommitRequestProto"},
	{protocol.TypeBranchCommitResult, "BranchCommitResponseProto"},
	{protocol.TypeBranchRollback, "BranchRollbackRequestProto"},
	{protocol.TypeBranchRollbackResult, "BranchRollbackResponseProto"},
	{protocol.TypeGlobalRollback, "GlobalRollbackRequestProto"},
	{protocol.TypeGlobalRollbackResult, "GlobalRollbackResponseProto"},
	{protocol.TypeBranchReport, "BranchReportRequestProto"},
	{protocol.TypeBranchReportResult, "BranchReportResponseProto"},
	{protocol.TypeGlobalStatus, "GlobalStatusRequestProto"},
	{protocol.TypeGlobalStatusResult, "GlobalStatusResponseProto"},
	{protocol.TypeGlobalReport, "GlobalReportRequestProto"},
	{protocol.TypeGlobalReportResult, "GlobalReportResponseProto"},
	{protocol.TypeGlobalLockQuery, "GlobalLockQueryRequestProto"},
	{protocol.TypeGlobalLockResult, "GlobalLockQueryResponseProto"},
	{protocol.TypeUndoLogDelete, "UndoLogDeleteRequestProto"},
	{protocol.TypeRegisterTM, "RegisterTMRequestProto"},
	{protocol.TypeRegisterTMResult, "RegisterTMResponseProto"},
	{protocol.TypeRegisterRM, "RegisterRMRequestProto"},
	{protocol.TypeRegisterRMResult, "RegisterRMResponseProto"},
	{protocol.TypeMergedResult, "MergedResultMessageProto"},
	{protocol.TypeBatchResult, "BatchResultMessageProto"},
}
