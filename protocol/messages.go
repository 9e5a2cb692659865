package protocol

// TypeCode is the number that stands before a message body on the wire
// (org.apache.seata.core.protocol.MessageType).
type TypeCode int16

// Message type codes; a request is odd, its result the even number above it.
const (
	TypeGlobalBegin          TypeCode = 1
	TypeGlobalBeginResult    TypeCode = 2
	TypeBranchCommit         TypeCode = 3
	TypeBranchCommitResult   TypeCode = 4
	TypeBranchRollback       TypeCode = 5
	TypeBranchRollbackResult TypeCode = 6
	TypeGlobalCommit         TypeCode = 7
	TypeGlobalCommitResult   TypeCode = 8
	TypeGlobalRollback       TypeCode = 9
	TypeGlobalRollbackResult TypeCode = 10
	TypeBranchRegister       TypeCode = 11
	TypeBranchRegisterResult TypeCode = 12
	TypeBranchReport         TypeCode = 13
	TypeBranchReportResult   TypeCode = 14
	TypeGlobalStatus         TypeCode = 15
	TypeGlobalStatusResult   TypeCode = 16
	TypeGlobalReport         TypeCode = 17
	TypeGlobalReportResult   TypeCode = 18
	TypeGlobalLockQuery      TypeCode = 21
	TypeGlobalLockResult     TypeCode = 22
	TypeMerged               TypeCode = 59
	TypeMergedResult         TypeCode = 60
	TypeRegisterTM           TypeCode = 101
	TypeRegisterTMResult     TypeCode = 102
	TypeRegisterRM           TypeCode = 103
	TypeRegisterRMResult     TypeCode = 104
	TypeUnregisterRM         TypeCode = 105
	TypeUnregisterRMResult   TypeCode = 106
	TypeUndoLogDelete        TypeCode = 111
	TypeHeartbeat            TypeCode = 120
	TypeBatchResult          TypeCode = 121
)

var typeCodeNames = map[TypeCode]string{
	TypeGlobalBegin:          "GlobalBegin",
	TypeGlobalBeginResult:    "GlobalBeginResult",
	TypeBranchCommit:         "BranchCommit",
	TypeBranchCommitResult:   "BranchCommitResult",
	TypeBranchRollback:       "BranchRollback",
	TypeBranchRollbackResult: "BranchRollbackResult",
	TypeGlobalCommit:         "GlobalCommit",
	TypeGlobalCommitResult:   "GlobalCommitResult",
	TypeGlobalRollback:       "GlobalRollback",
	TypeGlobalRollbackResult: "GlobalRollbackResult",
	TypeBranchRegister:       "BranchRegister",
	TypeBranchRegisterResult: "BranchRegisterResult",
	TypeBranchReport:         "BranchReport",
	TypeBranchReportResult:   "BranchReportResult",
	TypeGlobalStatus:         "GlobalStatus",
	TypeGlobalStatusResult:   "GlobalStatusResult",
	TypeGlobalReport:         "GlobalReport",
	TypeGlobalReportResult:   "GlobalReportResult",
	TypeGlobalLockQuery:      "GlobalLockQuery",
	TypeGlobalLockResult:     "GlobalLockResult",
	TypeMerged:               "Merged",
	TypeMergedResult:         "MergedResult",
	TypeRegisterTM:           "RegisterTM",
	TypeRegisterTMResult:     "RegisterTMResult",
	TypeRegisterRM:           "RegisterRM",
	TypeRegisterRMResult:     "RegisterRMResult",
	TypeUnregisterRM:         "UnregisterRM",
	TypeUnregisterRMResult:   "UnregisterRMResult",
	TypeUndoLogDelete:        "UndoLogDelete",
	TypeHeartbeat:            "Heartbeat",
	TypeBatchResult:          "BatchResult",
}

// String is the name of the constant without Type, or the number.
func (v TypeCode) String() string { return nameOf(typeCodeNames, v) }

// Message is one protocol message. The concrete types are the pointer types of
// this package and nothing else.
type Message interface {
	// TypeCode names the message on the wire.
	TypeCode() TypeCode
}

// Heartbeat is a ping or a pong; the frame's message type tells which. It has
// no body.
type Heartbeat struct{}

// Identity is what a client says of itself when it registers a channel
// (AbstractIdentifyRequest).
type Identity struct {
	// Version is the client's Seata version, such as "2.5.0".
	Version       string
	ApplicationID string
	// Group is the transaction service group.
	Group string
	// ExtraData carries newline-separated key=value pairs: credentials and the
	// client's address.
	ExtraData string
}

// RegisterTM announces a transaction manager's channel.
type RegisterTM struct{ Identity }

// RegisterRM announces a resource manager's channel and its resources.
type RegisterRM struct {
	Identity
	// ResourceIDs is a comma-separated list; empty when a client re-registers
	// with nothing yet.
	ResourceIDs string
}

// UnregisterRM withdraws resources from a channel (Seata 2.6 and later).
type UnregisterRM struct {
	Identity
	ResourceIDs string
}

// RegisterTMResult answers RegisterTM. Frames of version 0 and 1 carry only
// Identified and Version; frames of version 2 carry Result as well.
type RegisterTMResult struct {
	Result
	Identified bool
	Version    string
}

// RegisterRMResult answers RegisterRM, with the layout of RegisterTMResult.
type RegisterRMResult struct {
	Result
	Identified bool
	Version    string
}

// UnregisterRMResult answers UnregisterRM, with the layout of RegisterTMResult.
type UnregisterRMResult struct {
	Result
	Identified bool
	Version    string
}

// Result is the head of every answer (AbstractResultMessage). Message is on
// the wire only when Code is ResultFailed, cut to 32767 bytes.
type Result struct {
	Code    ResultCode
	Message string
}

// TxResult is the head of every answer about a transaction
// (AbstractTransactionResponse).
type TxResult struct {
	Result
	Exception ExceptionCode
}

// OK is the head of an answer that reports success.
func OK() TxResult { return TxResult{Result: Result{Code: ResultSuccess}} }

// Failure is the head of an answer that reports a failure.
func Failure(code ExceptionCode, message string) TxResult {
	return TxResult{Result: Result{Code: ResultFailed, Message: message}, Exception: code}
}

// GlobalBegin asks for a new global transaction.
type GlobalBegin struct {
	// TimeoutMillis is the time after which the coordinator rolls back by itself.
	TimeoutMillis int32
	Name          string
}

// GlobalBeginResult answers GlobalBegin.
type GlobalBeginResult struct {
	TxResult
	XID       string
	ExtraData string
}

// Global is the body that GlobalCommit, GlobalRollback and GlobalStatus share.
type Global struct {
	XID       string
	ExtraData string
}

// GlobalCommit asks the coordinator to decide commit.
type GlobalCommit struct{ Global }

// GlobalRollback asks the coordinator to decide rollback.
type GlobalRollback struct{ Global }

// GlobalStatusRequest asks for a global transaction's status.
type GlobalStatusRequest struct{ Global }

// GlobalReport tells the coordinator how a saga ended on the client's side.
type GlobalReport struct {
	Global
	Status GlobalStatus
}

// GlobalCommitResult answers GlobalCommit.
type GlobalCommitResult struct {
	TxResult
	Status GlobalStatus
}

// GlobalRollbackResult answers GlobalRollback.
type GlobalRollbackResult struct {
	TxResult
	Status GlobalStatus
}

// GlobalStatusResult answers GlobalStatusRequest.
type GlobalStatusResult struct {
	TxResult
	Status GlobalStatus
}

// GlobalReportResult answers GlobalReport.
type GlobalReportResult struct {
	TxResult
	Status GlobalStatus
}

// BranchRegister asks for a branch of a global transaction, with its row locks.
type BranchRegister struct {
	XID        string
	Type       BranchType
	ResourceID string
	// LockKey lists the rows the branch changed: "table:pk,pk;table2:pk".
	LockKey         string
	ApplicationData string
}

// BranchRegisterResult answers BranchRegister.
type BranchRegisterResult struct {
	TxResult
	BranchID int64
}

// GlobalLockQuery asks whether rows are free of other transactions' locks.
type GlobalLockQuery struct {
	XID             string
	Type            BranchType
	ResourceID      string
	LockKey         string
	ApplicationData string
}

// GlobalLockQueryResult answers GlobalLockQuery.
type GlobalLockQueryResult struct {
	TxResult
	Lockable bool
}

// BranchReport tells the coordinator how phase one of a branch ended.
type BranchReport struct {
	XID        string
	BranchID   int64
	Status     BranchStatus
	ResourceID string
	// ApplicationData, when not empty, replaces the branch's.
	ApplicationData string
	Type            BranchType
}

// BranchReportResult answers BranchReport.
type BranchReportResult struct{ TxResult }

// BranchOrder is the body that BranchCommit and BranchRollback share.
type BranchOrder struct {
	XID             string
	BranchID        int64
	Type            BranchType
	ResourceID      string
	ApplicationData string
}

// BranchCommit orders a resource manager to commit a branch.
type BranchCommit struct{ BranchOrder }

// BranchRollback orders a resource manager to roll a branch back.
type BranchRollback struct{ BranchOrder }

// BranchOutcome is the body that the answers to BranchCommit and
// BranchRollback share.
type BranchOutcome struct {
	TxResult
	XID      string
	BranchID int64
	Status   BranchStatus
}

// BranchCommitResult answers BranchCommit.
type BranchCommitResult struct{ BranchOutcome }

// BranchRollbackResult answers BranchRollback.
type BranchRollbackResult struct{ BranchOutcome }

// UndoLogDelete tells a resource manager to delete undo logs older than
// SaveDays. It has no answer.
type UndoLogDelete struct {
	Type       BranchType
	ResourceID string
	SaveDays   int16
}

// Merged carries several requests in one frame (MergedWarpMessage). IDs[i] is
// the request id of Messages[i]; clients older than 1.5.0 send no IDs and want
// a MergedResult.
type Merged struct {
	Messages []Message
	IDs      []int32
}

// MergedResult answers Merged by position.
type MergedResult struct{ Messages []Message }

// BatchResult answers requests of several frames; IDs[i] is the request id
// that Messages[i] answers.
type BatchResult struct {
	Messages []Message
	IDs      []int32
}

func (*Heartbeat) TypeCode() TypeCode             { return TypeHeartbeat }
func (*RegisterTM) TypeCode() TypeCode            { return TypeRegisterTM }
func (*RegisterTMResult) TypeCode() TypeCode      { return TypeRegisterTMResult }
func (*RegisterRM) TypeCode() TypeCode            { return TypeRegisterRM }
func (*RegisterRMResult) TypeCode() TypeCode      { return TypeRegisterRMResult }
func (*UnregisterRM) TypeCode() TypeCode          { return TypeUnregisterRM }
func (*UnregisterRMResult) TypeCode() TypeCode    { return TypeUnregisterRMResult }
func (*GlobalBegin) TypeCode() TypeCode           { return TypeGlobalBegin }
func (*GlobalBeginResult) TypeCode() TypeCode     { return TypeGlobalBeginResult }
func (*GlobalCommit) TypeCode() TypeCode          { return TypeGlobalCommit }
func (*GlobalCommitResult) TypeCode() TypeCode    { return TypeGlobalCommitResult }
func (*GlobalRollback) TypeCode() TypeCode        { return TypeGlobalRollback }
func (*GlobalRollbackResult) TypeCode() TypeCode  { return TypeGlobalRollbackResult }
func (*GlobalStatusRequest) TypeCode() TypeCode   { return TypeGlobalStatus }
func (*GlobalStatusResult) TypeCode() TypeCode    { return TypeGlobalStatusResult }
func (*GlobalReport) TypeCode() TypeCode          { return TypeGlobalReport }
func (*GlobalReportResult) TypeCode() TypeCode    { return TypeGlobalReportResult }
func (*BranchRegister) TypeCode() TypeCode        { return TypeBranchRegister }
func (*BranchRegisterResult) TypeCode() TypeCode  { return TypeBranchRegisterResult }
func (*GlobalLockQuery) TypeCode() TypeCode       { return TypeGlobalLockQuery }
func (*GlobalLockQueryResult) TypeCode() TypeCode { return TypeGlobalLockResult }
func (*BranchReport) TypeCode() TypeCode          { return TypeBranchReport }
func (*BranchReportResult) TypeCode() TypeCode    { return TypeBranchReportResult }
func (*BranchCommit) TypeCode() TypeCode          { return TypeBranchCommit }
func (*BranchCommitResult) TypeCode() TypeCode    { return TypeBranchCommitResult }
func (*BranchRollback) TypeCode() TypeCode        { return TypeBranchRollback }
func (*BranchRollbackResult) TypeCode() TypeCode  { return TypeBranchRollbackResult }
func (*UndoLogDelete) TypeCode() TypeCode         { return TypeUndoLogDelete }
func (*Merged) TypeCode() TypeCode                { return TypeMerged }
func (*MergedResult) TypeCode() TypeCode          { return TypeMergedResult }
func (*BatchResult) TypeCode() TypeCode           { return TypeBatchResult }
