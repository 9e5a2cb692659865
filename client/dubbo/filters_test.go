package dubbo_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/xid"
)

const theXID = "10.0.0.7:8091:42"

// Echo answers with the transaction that its context carries.
type Echo struct{}

func (*Echo) Where(ctx context.Context, name string) (string, error) {
	return name + " in " + xid.FromContext(ctx) + " " + xid.BranchType(ctx), nil
}

func (r remote) where(ctx context.Context, name string) (answer string, err error) {
	err = r.call(ctx, &answer, "Where", name)
	return answer, err
}

func TestTheTransactionTravels(t *testing.T) {
	onEachTransport(t, func(t *testing.T, p transport) {
		echo := p.dial(t, p.serve(t, &Echo{}, nil))
		got, err := echo.where(xid.NewContext(t.Context(), theXID), "a")
		require.NoError(t, err)
		assert.Equal(t, "a in "+theXID+" AT", got)

		got, err = echo.where(t.Context(), "b")
		require.NoError(t, err)
		assert.Equal(t, "b in  ", got)
	})
}
