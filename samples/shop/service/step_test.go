package service

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/internal/testenv"
)

// shelf is a stock service's database with ten lamps.
func shelf(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for _, statement := range []string{Tables()["stock"], StepTable, "INSERT INTO stock (item, quantity) VALUES ('lamp', 10)"} {
		_, err := db.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	return db
}

func lamps(t *testing.T, db *sql.DB) (n int64) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT quantity FROM stock").Scan(&n))
	return n
}

var shelves = map[string]func(t *testing.T) *sql.DB{
	"sqlite": func(t *testing.T) *sql.DB {
		return shelf(t, "sqlite", "file:"+filepath.Join(t.TempDir(), "stock.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	},
	"mariadb": func(t *testing.T) *sql.DB { return shelf(t, "mysql", testenv.MariaDB(t)) },
}

// Calls and what undoes them come repeated, in any order, and alone.
func TestASagasCallsInAnyOrder(t *testing.T) {
	take, putBack := "take", "putBack"
	for name, open := range shelves {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			do, undo := stockStep().in(db)
			for i, story := range []struct {
				calls []string
				want  int64 // lamps that are gone
				last  error
			}{
				{[]string{take}, 3, nil},
				{[]string{take, take}, 3, nil},
				{[]string{take, putBack}, 0, nil},
				{[]string{take, putBack, putBack}, 0, nil},
				{[]string{putBack}, 0, nil},
				{[]string{putBack, putBack, take}, 0, errUndone},
				{[]string{take, putBack, take}, 0, errUndone},
			} {
				before := lamps(t, db)
				var err error
				for _, call := range story.calls {
					taking := Taking{Order: int64(i), Item: "lamp", Quantity: 3}
					if call == take {
						err = do(t.Context(), taking)
					} else {
						err = undo(t.Context(), taking)
					}
				}
				require.ErrorIs(t, err, story.last, "%v", story.calls)
				assert.Equal(t, story.want, before-lamps(t, db), "%v", story.calls)
				_, err = db.ExecContext(t.Context(), "UPDATE stock SET quantity = 10")
				require.NoError(t, err)
			}
		})
	}
}

// A refusal leaves nothing behind: the order may be placed when there are lamps.
func TestARefusalIsNoStep(t *testing.T) {
	for name, open := range shelves {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			do, _ := stockStep().in(db)
			taking := Taking{Order: 1, Item: "lamp", Quantity: 11}
			require.ErrorIs(t, do(t.Context(), taking), ErrNoStock)
			_, err := db.ExecContext(t.Context(), "UPDATE stock SET quantity = 11")
			require.NoError(t, err)
			require.NoError(t, do(t.Context(), taking))
			assert.Zero(t, lamps(t, db))
		})
	}
}

// Calls that come at the same time may fail, and are repeated until they do not; the
// lamps are taken once, and put back once.
func TestASagasCallsAtTheSameTime(t *testing.T) {
	for name, open := range shelves {
		t.Run(name, func(t *testing.T) {
			db := open(t)
			do, undo := stockStep().in(db)
			together := func(calls ...func(context.Context, Taking) error) {
				var running sync.WaitGroup
				for _, call := range calls {
					running.Go(func() {
						for range 100 {
							if err := call(t.Context(), Taking{Order: 1, Item: "lamp", Quantity: 3}); err == nil {
								return
							}
						}
						t.Error("fails for ever")
					})
				}
				running.Wait()
			}
			together(do, do, do, do)
			assert.EqualValues(t, 7, lamps(t, db))
			together(undo, undo, undo, undo)
			assert.EqualValues(t, 10, lamps(t, db))
		})
	}
}
