package hessian

import "github.com/qiao-tx/qiao/protocol"

// layout is the fields of a message in the order in which Java writes them: the
// texts and numbers of a class and its ancestors, and then what has a class.
// A message without a layout has none.
func layout(m protocol.Message) []field {
	switch m := m.(type) {
	case *protocol.GlobalBegin:
		return request(field{"timeout", &m.TimeoutMillis}, field{"transactionName", &m.Name})
	case *protocol.GlobalBeginResult:
		return txResult(&m.TxResult, nil, field{"xid", &m.XID}, field{"extraData", &m.ExtraData})
	case *protocol.GlobalCommit:
		return global(&m.Global)
	case *protocol.GlobalRollback:
		return global(&m.Global)
	case *protocol.GlobalStatusRequest:
		return global(&m.Global)
	case *protocol.GlobalReport:
		return request(field{"xid", &m.XID}, field{"extraData", &m.ExtraData}, field{"globalStatus", &m.Status})
	case *protocol.GlobalCommitResult:
		return globalResult(&m.TxResult, &m.Status)
	case *protocol.GlobalRollbackResult:
		return globalResult(&m.TxResult, &m.Status)
	case *protocol.GlobalStatusResult:
		return globalResult(&m.TxResult, &m.Status)
	case *protocol.GlobalReportResult:
		return globalResult(&m.TxResult, &m.Status)
	case *protocol.BranchRegister:
		return branch(&m.XID, &m.Type, &m.ResourceID, &m.LockKey, &m.ApplicationData)
	case *protocol.BranchRegisterResult:
		return txResult(&m.TxResult, nil, field{"branchId", &m.BranchID})
	case *protocol.GlobalLockQuery:
		return branch(&m.XID, &m.Type, &m.ResourceID, &m.LockKey, &m.ApplicationData)
	case *protocol.GlobalLockQueryResult:
		return txResult(&m.TxResult, nil, field{"lockable", &m.Lockable})
	case *protocol.BranchReport:
		return request(field{"xid", &m.XID}, field{"branchId", &m.BranchID}, field{"resourceId", &m.ResourceID},
			field{"applicationData", &m.ApplicationData}, field{"status", &m.Status}, field{"branchType", &m.Type})
	case *protocol.BranchReportResult:
		return txResult(&m.TxResult, nil)
	case *protocol.BranchCommit:
		return order(&m.BranchOrder)
	case *protocol.BranchRollback:
		return order(&m.BranchOrder)
	case *protocol.BranchCommitResult:
		return outcome(&m.BranchOutcome)
	case *protocol.BranchRollbackResult:
		return outcome(&m.BranchOutcome)
	case *protocol.UndoLogDelete:
		return request(field{"resourceId", &m.ResourceID}, field{"saveDays", &m.SaveDays}, field{"branchType", &m.Type})
	}
	return envelope(m)
}

// envelope is layout for registrations and messages that hold others.
func envelope(m protocol.Message) []field {
	switch m := m.(type) {
	case *protocol.RegisterTM:
		return identity(&m.Identity)
	case *protocol.RegisterRM:
		return identity(&m.Identity, field{"resourceIds", &m.ResourceIDs})
	case *protocol.UnregisterRM:
		return identity(&m.Identity, field{"resourceIds", &m.ResourceIDs})
	case *protocol.RegisterTMResult:
		return identified(&m.Result, &m.Identified, &m.Version)
	case *protocol.RegisterRMResult:
		return identified(&m.Result, &m.Identified, &m.Version)
	case *protocol.UnregisterRMResult:
		return identified(&m.Result, &m.Identified, &m.Version)
	case *protocol.Merged:
		return []field{{"msgs", messageList{&m.Messages, false}}, {"msgIds", &m.IDs}, {"ctx", nil}}
	case *protocol.MergedResult:
		return []field{{"msgs", messageList{&m.Messages, true}}, {"ctx", nil}}
	case *protocol.BatchResult:
		return []field{{"resultMessages", messageList{&m.Messages, false}}, {"msgIds", &m.IDs}, {"ctx", nil}}
	}
	return nil
}

func request(fields ...field) []field {
	return append(fields, field{"handler", nil}, field{"ctx", nil})
}

// txResult is an answer with the fields before those of its ancestors, and a
// status, or nil, among what has a class.
func txResult(r *protocol.TxResult, status *field, fields ...field) []field {
	fields = append(fields, field{"msg", &r.Message})
	if status != nil {
		fields = append(fields, *status)
	}
	return append(fields, field{"transactionExceptionCode", &r.Exception}, field{"resultCode", &r.Code}, field{"ctx", nil})
}

func global(g *protocol.Global) []field {
	return request(field{"xid", &g.XID}, field{"extraData", &g.ExtraData})
}

func globalResult(r *protocol.TxResult, s *protocol.GlobalStatus) []field {
	return txResult(r, &field{"globalStatus", s})
}

func branch(x *string, t *protocol.BranchType, resource, locks, data *string) []field {
	return request(field{"xid", x}, field{"resourceId", resource}, field{"lockKey", locks},
		field{"applicationData", data}, field{"branchType", t})
}

func order(o *protocol.BranchOrder) []field {
	return request(field{"xid", &o.XID}, field{"branchId", &o.BranchID}, field{"resourceId", &o.ResourceID},
		field{"applicationData", &o.ApplicationData}, field{"branchType", &o.Type})
}

func outcome(o *protocol.BranchOutcome) []field {
	return txResult(&o.TxResult, &field{"branchStatus", &o.Status}, field{"xid", &o.XID}, field{"branchId", &o.BranchID})
}

func identity(i *protocol.Identity, own ...field) []field {
	return append(own, field{"version", &i.Version}, field{"applicationId", &i.ApplicationID},
		field{"transactionServiceGroup", &i.Group}, field{"extraData", &i.ExtraData}, field{"ctx", nil})
}

func identified(r *protocol.Result, ok *bool, version *string) []field {
	var extraData string // always null
	return []field{{"version", version}, {"extraData", &extraData}, {"identified", ok}, {"msg", &r.Message}, {"resultCode", &r.Code}, {"ctx", nil}}
}
