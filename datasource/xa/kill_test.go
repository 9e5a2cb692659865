package xa_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/xa"
	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// An operator kills sessions and statements while branches run, are prepared and
// are finished. What Commit said holds, what was reported as failed is not
// prepared, and nothing is left behind.
func TestSessionsAreKilled(t *testing.T) {
	on(t, func(t *testing.T, e *env) {
		const workers, rounds = 3, 50
		stop := make(chan struct{})
		var killer, working sync.WaitGroup
		var spare atomic.Int32 // phase two that was killed once goes on in peace
		killer.Go(func() { e.killUntil(stop, &spare) })
		var committed [workers]int
		for n := range workers {
			working.Go(func() {
				for round := range rounds {
					x := fmt.Sprintf("127.0.0.1:8091:%d%d%05d", time.Now().UnixNano()/1e6, n+1, round)
					if e.addOne(xid.NewContext(t.Context(), x), n+1) == nil {
						committed[n]++
						e.decide(x, true, &spare)
					} else {
						e.decide(x, false, &spare)
					}
				}
			})
		}
		working.Wait()
		close(stop)
		killer.Wait()
		t.Log("committed", committed)
		for _, db := range []*sql.DB{e.db, e.plain} { // idle connections were killed
			db.SetMaxIdleConns(0)
			db.SetMaxIdleConns(2)
		}
		left, err := xa.InDoubt(t.Context(), e.plain, e.dialect)
		require.NoError(t, err)
		for _, b := range left {
			for _, own := range e.tc.of(b.XID) {
				assert.NotEqual(t, own.ID, b.ID, "a branch is left prepared; it was reported as %v", e.tc.reported(b.ID))
			}
		}
		assert.Equal(t, fmt.Sprint(100+committed[0], 100+committed[1], 100+committed[2]), e.balances())
		e.clean()
	})
}

// addOne adds one to an account in a branch.
func (e *env) addOne(ctx context.Context, id int) error {
	tx, err := e.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE account SET balance = balance + 1 WHERE id = %d", id)); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

// decide does what a coordinator does: it orders a transaction's branches until
// they obey, but for those of which it was told that they failed.
func (e *env) decide(x string, commit bool, spare *atomic.Int32) {
	r := e.connector.Resource()
	order, done := r.Rollback, protocol.BranchPhaseTwoRollbacked
	if commit {
		order, done = r.Commit, protocol.BranchPhaseTwoCommitted
	}
	for _, b := range e.tc.of(x) {
		if e.tc.reported(b.ID) == protocol.BranchPhaseOneFailed {
			continue
		}
		if status, _ := order(e.t.Context(), b); status == done {
			continue
		}
		spare.Add(1)
		assert.EventuallyWithT(e.t, func(c *assert.CollectT) {
			status, err := order(e.t.Context(), b)
			assert.NoError(c, err)
			assert.Equal(c, done, status)
		}, 20*time.Second, time.Millisecond, "%s", x)
		spare.Add(-1)
	}
}

// killUntil kills the database's sessions, or what they do, one after the other.
func (e *env) killUntil(stop chan struct{}, spare *atomic.Int32) {
	list := "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
	ways := []string{"KILL %d", "KILL QUERY %d"}
	if e.dialect == schema.PostgreSQL {
		list = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
		ways = []string{"SELECT pg_terminate_backend(%d)", "SELECT pg_cancel_backend(%d)"}
	}
	killer := sql.OpenDB(e.inner)
	defer killer.Close()
	killer.SetMaxOpenConns(1)
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(rand.IntN(4000)) * time.Microsecond):
		}
		var ids []int
		rows, err := killer.Query(list)
		if !assert.NoError(e.t, err) {
			return
		}
		for rows.Next() {
			var id int
			assert.NoError(e.t, rows.Scan(&id))
			ids = append(ids, id)
		}
		assert.NoError(e.t, errors.Join(rows.Err(), rows.Close()))
		if len(ids) > 0 && spare.Load() == 0 {
			_, _ = killer.Exec(fmt.Sprintf(ways[rand.IntN(2)], ids[rand.IntN(len(ids))])) // it may have gone
		}
	}
}
