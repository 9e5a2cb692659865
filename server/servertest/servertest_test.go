package servertest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/server/servertest"
	"github.com/qiao-tx/qiao/tm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A client begins, takes part in, commits and rolls back transactions; two
// coordinators know nothing of each other.
func TestACoordinatorForATest(t *testing.T) {
	errStop := errors.New("stop")
	for range 2 {
		address := servertest.Start(t)
		c, err := client.Open(t.Context(), client.Config{Addresses: []string{address}, ApplicationID: "test"})
		require.NoError(t, err)
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			require.NoError(t, c.Close(ctx))
		})
		calls := make(chan string, 4)
		step := func(name string) func(context.Context, int) error {
			return func(context.Context, int) error { calls <- name; return nil }
		}
		action, err := tcc.Register(t.Context(), c.RM(), tcc.Action[int]{
			Name: "act", Try: step("try"), Confirm: step("confirm"), Cancel: step("cancel"),
		})
		require.NoError(t, err)
		for _, outcome := range []error{nil, errStop} {
			err := c.TM().Run(t.Context(), tm.Options{Name: "test"}, func(ctx context.Context) error {
				assert.Contains(t, xid.FromContext(ctx), address)
				return errors.Join(action.Try(ctx, 1), outcome)
			})
			require.ErrorIs(t, err, outcome)
		}
		for _, want := range []string{"try", "confirm", "try", "cancel"} {
			assert.Equal(t, want, <-calls)
		}
	}
}
