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
