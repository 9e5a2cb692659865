//go:build linux

package javatc

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm/tcc/barrier"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
	"github.com/qiao-tx/qiao/rm/tcc/remote"
)

// serveHold is the action of the other stories as a service that is only HTTP.
func (e *env) serveHold() *httptest.Server {
	e.t.Helper()
	records, err := fence.New(e.plain, "")
	require.NoError(e.t, err)
	statements := map[barrier.Op]string{
		barrier.Try:     "UPDATE account SET held = held + ? WHERE id = ?",
		barrier.Confirm: "UPDATE account SET n = n + held, held = 0 WHERE held = ? AND id = ?",
		barrier.Cancel:  "UPDATE account SET held = held - ? WHERE id = ?",
	}
	server := httptest.NewServer(barrier.Handler(records, func(tx *sql.Tx, b barrier.Barrier, r *http.Request) error {
		var arg hold
		if err := json.NewDecoder(r.Body).Decode(&arg); err != nil {
			return barrier.Refuse(err)
		}
		e.called("%s %s", b.Op, arg.Name)
		_, err := tx.ExecContext(r.Context(), statements[b.Op], arg.N, arg.ID)
		return err
	}))
	e.t.Cleanup(server.Close)
	return server
}

// remoteTries makes tries at the service, in a transaction that ends with inside.
func (e *env) remoteTries(tries []hold, inside func(ctx context.Context) error) error {
	server := e.serveHold()
	p, err := remote.Register(e.t.Context(), e.app.RM(), remote.Config{Name: "remote-" + rand.Text()})
	require.NoError(e.t, err)
	e.t.Cleanup(p.Close)
	return e.global(ample, func(ctx context.Context) error {
		for _, arg := range tries {
			body, err := json.Marshal(arg)
			require.NoError(e.t, err)
			if _, err := p.Call(ctx, remote.Call{Try: server.URL, Confirm: server.URL, Cancel: server.URL, Body: body}); err != nil {
				return err
			}
		}
		return inside(ctx)
	})
}

// ends is what a transaction ends with.
func ends(err error) func(context.Context) error {
	return func(context.Context) error { return err }
}

var storiesOfRemote = []story{
	{
		name: "commit", tell: func(e *env) error { return e.remoteTries(heldAmounts, ends(nil)) },
		want: outcome{rows: confirmed, calls: "try a, try b, confirm a, confirm b", status: protocol.StatusCommitted},
	},
	{
		name: "rollback", tell: func(e *env) error { return e.remoteTries(heldAmounts, ends(errStop)) },
		want: outcome{errors: "errStop", rows: untouched, calls: "try a, try b, cancel b, cancel a", status: protocol.StatusRollbacked},
	},
	{
		name: "with a TCC action and AT", tell: func(e *env) error {
			action := e.action(hooks{})
			return e.remoteTries(heldAmounts[:1], func(ctx context.Context) error {
				return errors.Join(e.add(ctx, 3, 1), action.Try(ctx, heldAmounts[1]))
			})
		},
		want: outcome{rows: "1=15 2=27 3=31 / 1=10 2=20 3=30", calls: "try a, try b, confirm a, confirm b",
			status: protocol.StatusCommitted},
	},
}
