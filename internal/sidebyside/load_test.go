//go:build linux

package sidebyside

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client"
	"github.com/qiao-tx/qiao/datasource"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/tm"
)

// load is an application in Go on both coordinators that makes transfers, several at
// a time, and remembers what it was told of each.
type load struct {
	w      *world
	app    *client.Client
	db     *sql.DB
	hold   *tcc.Handle[transfer]
	number atomic.Int64

	stop    chan struct{}
	paused  sync.RWMutex // held for reading by a transfer under way
	workers sync.WaitGroup

	mu sync.Mutex
	// told is what the application was told of each transfer.
	told map[int64]outcome
	// phases are the orders that the TCC action got for each.
	phases map[int64]map[string]bool
}

// transfer is what an action holds.
type transfer struct{ ID int64 }

type outcome uint8

const (
	unknown outcome = iota
	committed
	rolledBack
)

// errWanted ends a transfer that is to be rolled back.
var errWanted = errors.New("the transfer is to be rolled back")

// workersOfLoad make transfers at the same time.
const workersOfLoad = 8

func (w *world) startLoad() *load {
	w.t.Helper()
	l := &load{w: w, stop: make(chan struct{}), told: make(map[int64]outcome), phases: make(map[int64]map[string]bool)}
	w.loads++
	l.number.Store(w.loads * 1_000_000)
	var err error
	l.app, err = client.Open(w.t.Context(), client.Config{
		Addresses: []string{w.java.Advertised(), w.ours.Address()}, ApplicationID: "go-shop",
		TMTimeout: 5 * time.Second, RMTimeout: 5 * time.Second, Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		assert.NoError(w.t, l.app.Close(ctx))
	})
	l.db, err = datasource.Open(w.t.Context(), l.app.RM(), datasource.Config{Driver: "mysql", DSN: w.booksDSN, LockWait: 200 * time.Millisecond})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, l.db.Close()) })
	note := func(phase string) func(context.Context, transfer) error {
		return func(_ context.Context, t transfer) error {
			l.note(t.ID, phase)
			return nil
		}
	}
	l.hold, err = tcc.Register(w.t.Context(), l.app.RM(), tcc.Action[transfer]{
		Name: "go-hold", Try: note("try"), Confirm: note("confirm"), Cancel: note("cancel"),
	})
	require.NoError(w.t, err)
	for range workersOfLoad {
		l.workers.Go(l.work)
	}
	w.t.Cleanup(l.end) // also when the test has failed
	return l
}

func (l *load) note(id int64, phase string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.phases[id] == nil {
		l.phases[id] = make(map[string]bool)
	}
	l.phases[id][phase] = true
}

func (l *load) work() {
	for {
		select {
		case <-l.stop:
			return
		default:
		}
		l.paused.RLock()
		id := l.number.Add(1)
		told := l.transfer(id)
		l.paused.RUnlock()
		l.mu.Lock()
		l.told[id] = told
		l.mu.Unlock()
	}
}

// transfer moves money between two accounts, in a branch each, and writes it down.
// One in four is to be rolled back, and one in forty left to its time-out.
func (l *load) transfer(id int64) outcome {
	payer, payee := 100+rand.IntN(100), 100+rand.IntN(100)
	if payer == payee {
		payee = 100 + (payee-99)%100
	}
	timeout, fate := 30*time.Second, rand.IntN(40)
	if fate == 0 {
		timeout = time.Second
	}
	err := l.app.TM().Run(context.Background(), tm.Options{Name: "transfer", Timeout: timeout}, func(ctx context.Context) error {
		for _, change := range []struct {
			statement string
			args      []any
		}{
			{"UPDATE account SET money = money - 1 WHERE id = ?", []any{payer}},
			{"UPDATE account SET money = money + 1 WHERE id = ?", []any{payee}},
			{"INSERT INTO ledger (id, payer, payee) VALUES (?, ?, ?)", []any{id, payer, payee}},
		} {
			if _, err := l.db.ExecContext(ctx, change.statement, change.args...); err != nil {
				return err
			}
		}
		if id%3 == 0 {
			if err := l.hold.Try(ctx, transfer{id}); err != nil {
				return err
			}
		}
		switch {
		case fate == 0:
			<-ctx.Done()
			return nil
		case fate <= 10:
			return errWanted
		}
		return nil
	})
	var lost *tm.Unavailable
	switch {
	case err == nil:
		return committed
	case errors.As(err, &lost) && lost.SafeToRetry: // not even begun, while both are away
		return rolledBack
	case errors.Is(err, tm.ErrOutcomeUnknown), errors.Is(err, tm.ErrUnavailable), errors.Is(err, tm.ErrNotFound):
		return unknown
	}
	return rolledBack // or it will be
}

// goesOn waits for so many more transfers that are committed.
func (l *load) goesOn(more int) {
	l.w.t.Helper()
	before := l.count(committed)
	require.Eventually(l.w.t, func() bool { return l.count(committed) >= before+more }, patience, 20*time.Millisecond, "the load stands still")
}

func (l *load) count(of outcome) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, told := range l.told {
		if told == of {
			n++
		}
	}
	return n
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
	l.workers.Wait()
}

// drained waits until no transaction is open and no branch is left: the point at
// which a fleet may change from one coordinator to the other without a loss.
func (w *world) drained() {
	w.t.Helper()
	require.Eventually(w.t, func() bool {
		return w.number(w.store, "SELECT COUNT(*) FROM global_table WHERE status=1") == 0 &&
			w.number(w.store, "SELECT COUNT(*) FROM branch_table") == 0
	}, 2*patience, 100*time.Millisecond, "the coordinators do not drain")
}

// check ends the load and holds the books against what the application was told:
// every transfer is there whole or not at all.
func (l *load) check() {
	w := l.w
	w.t.Helper()
	l.end()
	w.drained()
	require.Eventually(w.t, func() bool {
		return w.number(w.store, "SELECT COUNT(*) FROM lock_table") == 0 && w.number(w.books, "SELECT COUNT(*) FROM undo_log WHERE log_status=0") == 0
	}, patience, 100*time.Millisecond, "locks or undo logs are left")
	w.t.Logf("%d committed, %d rolled back, %d unknown", l.count(committed), l.count(rolledBack), l.count(unknown))

	want := make(map[int64]int64)
	there := make(map[int64]bool)
	w.rows("SELECT id, payer, payee FROM ledger", func(row [3]int64) {
		there[row[0]] = true
		want[row[1]]--
		want[row[2]]++
	})
	w.rows("SELECT id, money, 0 FROM account WHERE id>=100", func(row [3]int64) {
		assert.Equal(w.t, want[row[0]], row[1]-firstBalance, "account %d", row[0])
	})
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, told := range l.told {
		switch told {
		case committed:
			assert.True(w.t, there[id], "transfer %d was committed and is not there", id)
		case rolledBack:
			assert.False(w.t, there[id], "transfer %d was rolled back and is there", id)
		}
		if phases := l.phases[id]; phases["try"] {
			assert.Equal(w.t, there[id], phases["confirm"], "transfer %d: the action %v", id, phases)
			assert.Equal(w.t, !there[id], phases["cancel"], "transfer %d: the action %v", id, phases)
		}
	}
}

func (w *world) rows(query string, each func([3]int64)) {
	w.t.Helper()
	rows, err := w.books.QueryContext(w.t.Context(), query)
	require.NoError(w.t, err)
	defer rows.Close()
	for rows.Next() {
		var row [3]int64
		require.NoError(w.t, rows.Scan(&row[0], &row[1], &row[2]))
		each(row)
	}
	require.NoError(w.t, rows.Err())
}
