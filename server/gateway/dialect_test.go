package gateway

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/server/coordinator"
)

// The numbers are those of the clients' own TransactionExceptionCode: where
// LockKeyConflictFailFast stands, and whether it exists.
func TestExceptionCodesAreThoseOfTheClientsVersion(t *testing.T) {
	const conflict, failFast1, failFast2 = 2, 19, 20
	for _, test := range []struct {
		version string
		want    protocol.ExceptionCode
	}{
		{"", conflict}, {"1.4.2", conflict}, {"1.5.0", failFast1}, {"1.5.2", failFast1}, {"1.8.0", failFast1},
		{"2.0.0", failFast2}, {"2.2.0", failFast2}, {"2.6.0", failFast2},
	} {
		t.Run(test.version, func(t *testing.T) {
			w := newWorld(t, nil)
			w.coordinator.handle = func(_ coordinator.Caller, m protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
				if _, ok := m.(*protocol.BranchRegister); !ok {
					return false
				}
				reply(&protocol.BranchRegisterResult{TxResult: protocol.Failure(protocol.ExceptionLockKeyConflictFailFast, "held")}, nil)
				return true
			}
			c := w.dial()
			c.registerTM(test.version)
			register := &protocol.BranchRegister{XID: "x", ResourceID: "db", LockKey: "t:1"}
			c.send(frame.Request, 2, register, nil)
			_, m := c.receive()
			assert.Equal(t, test.want, m.(*protocol.BranchRegisterResult).Exception)
			c.send(frame.OneWay, 3, &protocol.Merged{Messages: []protocol.Message{register}}, nil)
			_, m = c.receive()
			assert.Equal(t, test.want, m.(*protocol.MergedResult).Messages[0].(*protocol.BranchRegisterResult).Exception)
		})
	}
	for code := range protocol.ExceptionLockKeyConflictFailFast {
		assert.Equal(t, code, exceptionFor(0, code), "every version knows the others that this coordinator uses")
	}
}

// A client of 1.6 takes every answer to a commit for success but 6 and 13.
func TestACommitThatFailedIsNoSuccessToAnyVersionThatLooks(t *testing.T) {
	for _, test := range []struct {
		version       string
		answer, heard protocol.GlobalStatus
	}{
		{"1.5.2", protocol.StatusFinished, protocol.StatusFinished},
		{"1.6.0", protocol.StatusFinished, protocol.StatusTimeoutRollbacking},
		{"1.6.1", protocol.StatusTimeoutRollbackFailed, protocol.StatusTimeoutRollbacking},
		{"1.6.1", protocol.StatusTimeoutRollbacked, protocol.StatusTimeoutRollbacked},
		{"1.6.1", protocol.StatusCommitted, protocol.StatusCommitted},
		{"1.6.1", protocol.StatusCommitRetrying, protocol.StatusCommitRetrying},
		{"1.7.0", protocol.StatusFinished, protocol.StatusFinished},
		{"2.6.0", protocol.StatusTimeoutRollbackFailed, protocol.StatusTimeoutRollbackFailed},
	} {
		t.Run(test.version+" "+test.answer.String(), func(t *testing.T) {
			w := newWorld(t, nil)
			w.coordinator.handle = func(_ coordinator.Caller, _ protocol.Message, _ map[string]string, reply coordinator.Replier) bool {
				reply(&protocol.GlobalCommitResult{TxResult: protocol.OK(), Status: test.answer}, nil)
				return true
			}
			c := w.dial()
			c.registerTM(test.version)
			c.send(frame.Request, 2, &protocol.GlobalCommit{Global: protocol.Global{XID: "x"}}, nil)
			_, m := c.receive()
			assert.Equal(t, test.heard, m.(*protocol.GlobalCommitResult).Status)
		})
	}
}
