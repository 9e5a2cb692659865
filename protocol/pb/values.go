package pb

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codec"
)

// lastException is the highest number of TransactionExceptionCodeProto.
const lastException = 17

// exception codes why a request failed. The format has the codes of an early
// Seata: those from LockKeyConflict to FailedStore, one lower than today's.
func (c *coder) exception(number protowire.Number, v *protocol.ExceptionCode) {
	n := int32(0)
	if c.encoding {
		n = exceptionNumber(*v)
	}
	c.int32(number, &n)
	switch {
	case c.encoding || n == 0:
	case n > 0 && n <= lastException:
		*v = protocol.ExceptionCode(n + 1)
	default:
		c.fail(codec.ErrInvalid, "exception code %d", n)
	}
}

// exceptionNumber is the format's number for a code, or for the nearest one on
// which a client acts alike. Of FailedLockGlobalTransaction the format spells the
// name wrong, so that Java neither writes nor reads it.
func exceptionNumber(v protocol.ExceptionCode) int32 {
	switch v {
	case protocol.ExceptionLockKeyConflictFailFast:
		// Its caller repeats for the usual while, and ends as it would have.
		v = protocol.ExceptionLockKeyConflict
	case protocol.ExceptionTransactionTimeout:
		v = protocol.ExceptionGlobalTransactionNotActive
	case protocol.ExceptionFailedLockGlobalTransaction:
		v = protocol.ExceptionUnknown
	}
	if v >= protocol.ExceptionLockKeyConflict && v <= protocol.ExceptionFailedStore {
		return int32(v) - 1
	}
	return 0 // Unknown: the message says more
}

// globalStatus codes a status. The format ends with Finished, and Java drops an
// answer with a higher number; the statuses that came later are read all the
// same, for a later format would have them.
func (c *coder) globalStatus(number protowire.Number, v *protocol.GlobalStatus) {
	if !c.encoding {
		integer(c, number, v, 0, int64(protocol.StatusStopRollbackOrRollbackRetry))
		return
	}
	s := *v
	switch s {
	case protocol.StatusCommitRetryTimeout:
		s = protocol.StatusCommitFailed
	case protocol.StatusRollbackRetryTimeout:
		s = protocol.StatusRollbackFailed
	case protocol.StatusDeleting:
		s = protocol.StatusFinished
	case protocol.StatusStopCommitOrCommitRetry:
		s = protocol.StatusCommitRetrying
	case protocol.StatusStopRollbackOrRollbackRetry:
		s = protocol.StatusRollbackRetrying
	}
	integer(c, number, &s, 0, int64(protocol.StatusFinished))
}

// branchStatus codes a status by its number, as Java does, which reads those
// that its enumeration lacks.
func (c *coder) branchStatus(number protowire.Number, v *protocol.BranchStatus) {
	integer(c, number, v, 0, int64(protocol.BranchStopRetry))
}

// branchType codes a mode by its number. Java's enumeration ends with SAGA: XA in
// this codec is between our own ends.
func (c *coder) branchType(number protowire.Number, v *protocol.BranchType) {
	integer(c, number, v, 0, int64(protocol.TypeSagaAnnotation))
}
