//go:build linux

package dubbojava

import (
	"context"
	"testing"
	"time"

	dubboclient "dubbo.apache.org/dubbo-go/v3/client"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/dubbo/sagaservice"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/tm"
)

// testGeneric: sagas call Java without its interfaces. The call is in the transaction,
// and an exception of Java's has its class.
func (w *world) testGeneric(t *testing.T) {
	const owner = "owner98"
	for _, over := range []string{constant.DubboProtocol, constant.TriProtocol} {
		i := sagaservice.New(sagaservice.Config{
			NewClient: func() (*dubboclient.Client, error) {
				return dubboclient.NewClient(dubboclient.SetClientApplication(application()))
			},
			Services: map[string][]dubboclient.ReferenceOption{bankInterface: {
				dubboclient.WithURL(address(over, javaPorts)), dubboclient.WithProtocol(over)}},
		})
		tx, err := w.app.TM().Begin(t.Context(), tm.Options{Name: "go-generic", Timeout: time.Minute})
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(xid.NewContext(t.Context(), tx.XID()), patience)
		defer cancel()
		add := func(owner string) (any, error) {
			return i.Invoke(ctx, saga.Request{Service: bankInterface, Method: "add",
				ParameterTypes: []string{"java.lang.String", "long"}, Input: []any{owner, int64(amount)}})
		}
		there, err := add(owner)
		require.NoError(t, err, over)
		assert.Equal(t, tx.XID(), there, over)
		assert.Equal(t, "1010 0", w.account(t, "java", owner), over)
		_, err = add("nobody")
		var thrown *saga.Exception
		require.ErrorAs(t, err, &thrown, over)
		assert.Equal(t, "java.lang.IllegalArgumentException", thrown.Class, "%s: %+v", over, thrown)
		assert.Contains(t, thrown.Message, "no account of nobody", over)
		require.NoError(t, tx.Rollback(t.Context()))
		require.Eventually(t, func() bool { return w.account(t, "java", owner) == "1000 0" }, patience, 20*time.Millisecond, over)
	}
}
