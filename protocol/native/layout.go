package native

import "github.com/qiao-tx/qiao/protocol"

// fields is the layout of every message: its fields in wire order.
func (c *coder) fields(m protocol.Message) {
	switch m := m.(type) {
	case *protocol.GlobalBegin:
		c.int32(&m.TimeoutMillis)
		c.str16(&m.Name)
	case *protocol.GlobalBeginResult:
		c.txResult(&m.TxResult)
		c.str16(&m.XID)
		c.str16(&m.ExtraData)
	case *protocol.GlobalCommit:
		c.global(&m.Global)
	case *protocol.GlobalRollback:
		c.global(&m.Global)
	case *protocol.GlobalStatusRequest:
		c.global(&m.Global)
	case *protocol.GlobalReport:
		c.global(&m.Global)
		octet(c, &m.Status)
	case *protocol.GlobalCommitResult:
		c.globalResult(&m.TxResult, &m.Status)
	case *protocol.GlobalRollbackResult:
		c.globalResult(&m.TxResult, &m.Status)
	case *protocol.GlobalStatusResult:
		c.globalResult(&m.TxResult, &m.Status)
	case *protocol.GlobalReportResult:
		c.globalResult(&m.TxResult, &m.Status)
	case *protocol.BranchRegister:
		c.branch(&m.XID, &m.Type, &m.ResourceID, &m.LockKey, &m.ApplicationData)
	case *protocol.BranchRegisterResult:
		c.txResult(&m.TxResult)
		c.int64(&m.BranchID)
	case *protocol.GlobalLockQuery:
		c.branch(&m.XID, &m.Type, &m.ResourceID, &m.LockKey, &m.ApplicationData)
	case *protocol.GlobalLockQueryResult:
		c.txResult(&m.TxResult)
		c.flag16(&m.Lockable)
	case *protocol.BranchReport:
		c.report(m)
	case *protocol.BranchReportResult:
		c.txResult(&m.TxResult)
	case *protocol.BranchCommit:
		c.order(&m.BranchOrder)
	case *protocol.BranchRollback:
		c.order(&m.BranchOrder)
	case *protocol.BranchCommitResult:
		c.outcome(&m.BranchOutcome)
	case *protocol.BranchRollbackResult:
		c.outcome(&m.BranchOutcome)
	case *protocol.UndoLogDelete:
		c.undoLogDelete(m)
	default:
		c.envelope(m)
	}
}

// envelope is fields for registrations and messages that hold others.
func (c *coder) envelope(m protocol.Message) {
	switch m := m.(type) {
	case *protocol.RegisterTM:
		c.identity(&m.Identity)
	case *protocol.RegisterRM:
		c.resources(&m.Identity, &m.ResourceIDs)
	case *protocol.UnregisterRM:
		c.resources(&m.Identity, &m.ResourceIDs)
	case *protocol.RegisterTMResult:
		c.identified(&m.Result, &m.Identified, &m.Version)
	case *protocol.RegisterRMResult:
		c.identified(&m.Result, &m.Identified, &m.Version)
	case *protocol.UnregisterRMResult:
		c.identified(&m.Result, &m.Identified, &m.Version)
	case *protocol.Merged:
		c.merged(&m.Messages, &m.IDs, idsOptional)
	case *protocol.MergedResult:
		c.merged(&m.Messages, nil, idsNone)
	case *protocol.BatchResult:
		c.merged(&m.Messages, &m.IDs, idsRequired)
	default:
		c.fail(ErrUnknownType, "%T has no body in this codec", m)
	}
}

func (c *coder) result(r *protocol.Result) {
	octet(c, &r.Code)
	if c.err == nil && r.Code > protocol.ResultSuccess {
		c.fail(ErrInvalid, "result code %d", r.Code)
	}
	if r.Code == protocol.ResultFailed {
		c.cut16(&r.Message)
	}
}

func (c *coder) txResult(r *protocol.TxResult) {
	c.result(&r.Result)
	octet(c, &r.Exception)
}

func (c *coder) global(g *protocol.Global) {
	c.str16(&g.XID)
	c.str16(&g.ExtraData)
}

func (c *coder) globalResult(r *protocol.TxResult, s *protocol.GlobalStatus) {
	c.txResult(r)
	octet(c, s)
}

func (c *coder) branch(x *string, t *protocol.BranchType, resource, locks, data *string) {
	c.str16(x)
	octet(c, t)
	c.str16(resource)
	c.str32(locks)
	c.str32(data)
}

func (c *coder) report(m *protocol.BranchReport) {
	c.str16(&m.XID)
	c.int64(&m.BranchID)
	octet(c, &m.Status)
	c.str16(&m.ResourceID)
	c.str32(&m.ApplicationData)
	octet(c, &m.Type)
}

func (c *coder) order(o *protocol.BranchOrder) {
	c.str16(&o.XID)
	c.int64(&o.BranchID)
	octet(c, &o.Type)
	c.str16(&o.ResourceID)
	c.str32(&o.ApplicationData)
}

func (c *coder) outcome(o *protocol.BranchOutcome) {
	c.txResult(&o.TxResult)
	c.str16(&o.XID)
	c.int64(&o.BranchID)
	octet(c, &o.Status)
}

func (c *coder) undoLogDelete(m *protocol.UndoLogDelete) {
	octet(c, &m.Type)
	if c.ended() {
		return
	}
	c.str16(&m.ResourceID)
	if c.ended() {
		return
	}
	c.int16(&m.SaveDays)
}

func (c *coder) identity(i *protocol.Identity) {
	for _, s := range []*string{&i.Version, &i.ApplicationID, &i.Group, &i.ExtraData} {
		if c.ended() {
			return
		}
		c.str16(s)
	}
}

func (c *coder) resources(i *protocol.Identity, ids *string) {
	c.identity(i)
	if !c.ended() {
		c.str32(ids)
	}
}

// identified codes the result of a registration. Frame versions 0 and 1 have no
// result code: a refusal reaches the client as identified = false alone. The
// decoded code says the same.
func (c *coder) identified(r *protocol.Result, ok *bool, version *string) {
	if c.v2 {
		c.result(r)
	}
	c.flag(ok)
	c.str16(version)
	if !c.v2 && !c.encoding && *ok {
		r.Code = protocol.ResultSuccess
	}
}
