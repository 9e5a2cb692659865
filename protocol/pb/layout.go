package pb

import (
	"math"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

// fields is the layout of every message: its fields by number, in that order.
// seata.proto has their names.
func (c *coder) fields(m protocol.Message) {
	code := m.TypeCode()
	switch m := m.(type) {
	case *protocol.GlobalBegin:
		c.request(code)
		c.int32(2, &m.TimeoutMillis)
		c.str(3, &m.Name)
	case *protocol.GlobalBeginResult:
		c.txResult(code, &m.TxResult)
		c.str(2, &m.XID)
		c.str(3, &m.ExtraData)
	case *protocol.GlobalCommit:
		c.global(code, &m.Global)
	case *protocol.GlobalRollback:
		c.global(code, &m.Global)
	case *protocol.GlobalStatusRequest:
		c.global(code, &m.Global)
	case *protocol.GlobalReport:
		c.global(code, &m.Global)
		c.globalStatus(2, &m.Status)
	case *protocol.GlobalCommitResult:
		c.globalResult(code, &m.TxResult, &m.Status)
	case *protocol.GlobalRollbackResult:
		c.globalResult(code, &m.TxResult, &m.Status)
	case *protocol.GlobalStatusResult:
		c.globalResult(code, &m.TxResult, &m.Status)
	case *protocol.GlobalReportResult:
		c.globalResult(code, &m.TxResult, &m.Status)
	case *protocol.BranchRegister:
		c.branch(code, &m.XID, &m.Type, &m.ResourceID, &m.LockKey, &m.ApplicationData)
	case *protocol.BranchRegisterResult:
		c.txResult(code, &m.TxResult)
		c.int64(2, &m.BranchID)
	case *protocol.GlobalLockQuery:
		mark := c.open(1)
		c.branch(code, &m.XID, &m.Type, &m.ResourceID, &m.LockKey, &m.ApplicationData)
		c.close(mark)
	case *protocol.GlobalLockQueryResult:
		c.txResult(code, &m.TxResult)
		c.flag(2, &m.Lockable)
	case *protocol.BranchReport:
		c.report(m)
	case *protocol.BranchReportResult:
		c.txResult(code, &m.TxResult)
	case *protocol.BranchCommit:
		c.order(code, &m.BranchOrder)
	case *protocol.BranchRollback:
		c.order(code, &m.BranchOrder)
	case *protocol.BranchCommitResult:
		c.outcome(code, &m.BranchOutcome)
	case *protocol.BranchRollbackResult:
		c.outcome(code, &m.BranchOutcome)
	case *protocol.UndoLogDelete:
		c.undoLogDelete(m)
	default:
		c.envelope(m)
	}
}

// envelope is fields for registrations and messages that hold others.
func (c *coder) envelope(m protocol.Message) {
	code := m.TypeCode()
	switch m := m.(type) {
	case *protocol.RegisterTM:
		c.identity(code, &m.Identity)
	case *protocol.RegisterRM:
		c.identity(code, &m.Identity)
		c.str(2, &m.ResourceIDs)
	case *protocol.RegisterTMResult:
		c.identified(code, &m.Result, &m.Identified, &m.Version)
	case *protocol.RegisterRMResult:
		c.identified(code, &m.Result, &m.Identified, &m.Version)
	default:
		c.fail(codec.ErrUnknownType, "%T has no body in protobuf", m)
	}
}

// head is AbstractMessageProto in field 1. Like Java, a reader goes by the
// message's name and not by the code here.
func (c *coder) head(code protocol.TypeCode) {
	mark := c.open(1)
	if c.encoding {
		c.appendNumber(1, uint64(code))
	}
	c.close(mark)
}

// request is AbstractTransactionRequestProto in field 1.
func (c *coder) request(code protocol.TypeCode) {
	mark := c.open(1)
	c.head(code)
	c.close(mark)
}

// result is AbstractResultMessageProto in field 1. Its message only explains: a
// part that is not UTF-8 must not cost the answer.
func (c *coder) result(code protocol.TypeCode, r *protocol.Result) {
	mark := c.open(1)
	c.head(code)
	integer(c, 2, &r.Code, 0, int64(protocol.ResultSuccess))
	if c.encoding {
		text := strings.ToValidUTF8(r.Message, "\ufffd")
		c.str(3, &text)
	} else {
		c.str(3, &r.Message)
	}
	c.close(mark)
}

// txResult is AbstractTransactionResponseProto in field 1.
func (c *coder) txResult(code protocol.TypeCode, r *protocol.TxResult) {
	mark := c.open(1)
	c.result(code, &r.Result)
	c.exception(2, &r.Exception)
	c.close(mark)
}

// global is AbstractGlobalEndRequestProto in field 1.
func (c *coder) global(code protocol.TypeCode, g *protocol.Global) {
	mark := c.open(1)
	c.request(code)
	c.str(2, &g.XID)
	c.str(3, &g.ExtraData)
	c.close(mark)
}

// globalResult is AbstractGlobalEndResponseProto in field 1.
func (c *coder) globalResult(code protocol.TypeCode, r *protocol.TxResult, s *protocol.GlobalStatus) {
	mark := c.open(1)
	c.txResult(code, r)
	c.globalStatus(2, s)
	c.close(mark)
}

// branch is BranchRegisterRequestProto.
func (c *coder) branch(code protocol.TypeCode, x *string, t *protocol.BranchType, resource, locks, data *string) {
	c.request(code)
	c.str(2, x)
	c.branchType(3, t)
	c.str(4, resource)
	c.str(5, locks)
	c.str(6, data)
}

func (c *coder) report(m *protocol.BranchReport) {
	c.request(m.TypeCode())
	c.str(2, &m.XID)
	c.int64(3, &m.BranchID)
	c.str(4, &m.ResourceID)
	c.branchStatus(5, &m.Status)
	c.str(6, &m.ApplicationData)
	c.branchType(7, &m.Type)
}

// order is AbstractBranchEndRequestProto in field 1.
func (c *coder) order(code protocol.TypeCode, o *protocol.BranchOrder) {
	mark := c.open(1)
	c.request(code)
	c.str(2, &o.XID)
	c.int64(3, &o.BranchID)
	c.branchType(4, &o.Type)
	c.str(5, &o.ResourceID)
	c.str(6, &o.ApplicationData)
	c.close(mark)
}

// outcome is AbstractBranchEndResponseProto in field 1.
func (c *coder) outcome(code protocol.TypeCode, o *protocol.BranchOutcome) {
	mark := c.open(1)
	c.txResult(code, &o.TxResult)
	c.str(2, &o.XID)
	c.int64(3, &o.BranchID)
	c.branchStatus(4, &o.Status)
	c.close(mark)
}

func (c *coder) undoLogDelete(m *protocol.UndoLogDelete) {
	c.request(m.TypeCode())
	c.str(2, &m.ResourceID)
	integer(c, 3, &m.SaveDays, math.MinInt16, math.MaxInt16)
	c.branchType(4, &m.Type)
}

// identity is AbstractIdentifyRequestProto in field 1.
func (c *coder) identity(code protocol.TypeCode, i *protocol.Identity) {
	mark := c.open(1)
	c.head(code)
	c.str(2, &i.Version)
	c.str(3, &i.ApplicationID)
	c.str(4, &i.Group)
	c.str(5, &i.ExtraData)
	c.close(mark)
}

// identified is AbstractIdentifyResponseProto in field 1. Its field 3 has no use
// in any version of Seata.
func (c *coder) identified(code protocol.TypeCode, r *protocol.Result, ok *bool, version *string) {
	mark := c.open(1)
	c.result(code, r)
	c.str(2, version)
	c.flag(4, ok)
	c.close(mark)
}

// list is a message that holds others.
type list struct {
	messages *[]protocol.Message
	ids      *[]int32 // nil when it has none
	// idsOptional: the ids may be absent.
	idsOptional bool
}

func listOf(m protocol.Message) (list, bool) {
	switch m := m.(type) {
	case *protocol.Merged:
		return list{&m.Messages, &m.IDs, true}, true
	case *protocol.MergedResult:
		return list{&m.Messages, nil, true}, true
	case *protocol.BatchResult:
		return list{&m.Messages, &m.IDs, false}, true
	}
	return list{}, false
}

// Fields of a list and of google.protobuf.Any.
const (
	listMessages protowire.Number = 2
	listIDs      protowire.Number = 3
	anyURL       protowire.Number = 1
	anyValue     protowire.Number = 2
	anyHost                       = "type.googleapis.com/"
)

// checkIDs compares the numbers of ids and messages.
func (c *coder) checkIDs(l list) {
	if l.ids == nil || len(*l.ids) == len(*l.messages) || l.idsOptional && len(*l.ids) == 0 {
		return
	}
	c.fail(codec.ErrInvalid, "%d ids for %d messages", len(*l.ids), len(*l.messages))
}

func (c *coder) appendList(code protocol.TypeCode, l list) {
	if c.inMerged {
		c.fail(codec.ErrNested, "at most one level is allowed")
		return
	}
	c.inMerged = true
	c.checkIDs(l)
	c.head(code)
	for _, m := range *l.messages {
		if c.err != nil {
			return
		}
		if m == nil {
			c.fail(codec.ErrInvalid, "a nil message")
			return
		}
		c.appendAny(m)
	}
	if l.ids == nil || len(*l.ids) == 0 {
		return
	}
	mark := c.open(listIDs)
	for _, id := range *l.ids {
		c.b = protowire.AppendVarint(c.b, uint64(int64(id)))
	}
	c.close(mark)
}

func (c *coder) appendAny(m protocol.Message) {
	name := nameOf(m.TypeCode())
	if name == "" {
		c.fail(codec.ErrUnknownType, "%T has no body in protobuf", m)
		return
	}
	mark := c.open(listMessages)
	url := c.open(anyURL)
	c.b = append(append(append(c.b, anyHost...), prefixOf(c.names)...), name...)
	c.close(url)
	value := c.open(anyValue)
	c.message(m, 0, 0)
	c.close(value)
	c.close(mark)
}

func (c *coder) readList(l list, start, end int) {
	if c.inMerged {
		c.fail(codec.ErrNested, "at most one level is allowed")
		return
	}
	c.inMerged = true
	*l.messages = []protocol.Message{}
	for c.pos = start; c.pos < end && c.err == nil; {
		number, f := c.nextField(end)
		after := c.pos
		switch {
		case c.err != nil:
			return
		case number == listMessages && f.wire == protowire.BytesType:
			*l.messages = append(*l.messages, c.readAny(f))
		case number == listIDs && l.ids != nil:
			c.readIDs(l.ids, f)
		}
		c.pos = max(c.pos, after)
	}
	if c.err == nil {
		c.checkIDs(l)
	}
}

func (c *coder) readAny(f field) protocol.Message {
	var a scope
	c.parse(&a, f.start, f.end)
	if c.err != nil {
		return nil
	}
	c.pos = f.start
	url := a[anyURL]
	if url.wire != protowire.BytesType || a[anyValue].present && a[anyValue].wire != protowire.BytesType {
		c.fail(codec.ErrInvalid, "a merged message without a name")
		return nil
	}
	// Java goes by what is behind the last slash.
	name := c.b[url.start:url.end]
	m, names := newMessage(name[lastSlash(name)+1:])
	if m == nil {
		c.unknownName(name)
		return nil
	}
	c.names = names
	c.message(m, a[anyValue].start, a[anyValue].end)
	return m
}

func lastSlash(name []byte) int {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '/' {
			return i
		}
	}
	return -1
}

// readIDs reads ids that are packed, as every writer does it, or one by one.
func (c *coder) readIDs(ids *[]int32, f field) {
	if f.wire == protowire.VarintType {
		*ids = append(*ids, int32(f.number))
		return
	}
	if f.wire != protowire.BytesType {
		c.fail(codec.ErrInvalid, "field %d has wire type %d", listIDs, f.wire)
		return
	}
	for c.pos = f.start; c.pos < f.end; {
		v, n := protowire.ConsumeVarint(c.b[c.pos:f.end])
		if n < 0 {
			c.failWire(n)
			return
		}
		*ids = append(*ids, int32(v))
		c.pos += n
	}
}
