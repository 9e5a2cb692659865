package meta_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/datasource/meta"
	"github.com/qiao-tx/qiao/datasource/schema"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// catalogue answers as SQLite would of tables with the one column id, and
// counts how often it was asked for each.
type catalogue struct {
	mu    sync.Mutex
	reads map[string]int
	// before runs ahead of each read of a table.
	before func(ctx context.Context) error
}

func (c *catalogue) Query(ctx context.Context, query string, args ...any) ([][]any, error) {
	table := args[0].(string)
	switch {
	case strings.Contains(query, "pragma_table_list"):
		c.mu.Lock()
		if c.reads == nil {
			c.reads = map[string]int{}
		}
		c.reads[table]++
		c.mu.Unlock()
		if c.before != nil {
			if err := c.before(ctx); err != nil {
				return nil, err
			}
		}
		if table == "absent" {
			return nil, nil
		}
		return [][]any{{"main", table, "table"}}, nil
	case strings.Contains(query, "pragma_table_xinfo"):
		return [][]any{{"id", "INTEGER", int64(0), int64(1), int64(0)}}, nil
	default:
		return nil, nil
	}
}

func (c *catalogue) readsOf(table string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.reads[table]
}

func TestCacheReadsAgainAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, source := meta.New(schema.SQLite), &catalogue{}
		get := func() {
			_, err := cache.Table(t.Context(), source, "", "t")
			require.NoError(t, err)
		}
		get()
		time.Sleep(15*time.Minute - time.Second)
		get()
		assert.Equal(t, 1, source.readsOf("t"))
		time.Sleep(2 * time.Second)
		get()
		assert.Equal(t, 2, source.readsOf("t"))
		cache.Invalidate("", "other")
		get()
		assert.Equal(t, 2, source.readsOf("t"))
		cache.Invalidate("", "t")
		get()
		assert.Equal(t, 3, source.readsOf("t"))
	})
}

func TestConcurrentMissesReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, gate := meta.New(schema.SQLite), make(chan struct{})
		source := &catalogue{before: func(context.Context) error { <-gate; return nil }}
		var group sync.WaitGroup
		tables := make([]*schema.Table, 8)
		for i := range tables {
			group.Go(func() {
				table, err := cache.Table(t.Context(), source, "", "t")
				assert.NoError(t, err)
				tables[i] = table
			})
		}
		synctest.Wait()
		assert.Equal(t, 1, source.readsOf("t"))
		close(gate)
		group.Wait()
		for _, table := range tables {
			assert.Same(t, tables[0], table)
		}
	})
}

// That there is no such table is an answer, which those who waited share; but
// it is not kept, so a table created now is found.
func TestConcurrentMissesOfNoTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, gate := meta.New(schema.SQLite), make(chan struct{})
		source := &catalogue{before: func(context.Context) error { <-gate; return nil }}
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				_, err := cache.Table(t.Context(), source, "", "absent")
				assert.ErrorIs(t, err, meta.ErrNoTable)
			})
		}
		synctest.Wait()
		close(gate)
		group.Wait()
		assert.Equal(t, 1, source.readsOf("absent"))
		_, err := cache.Table(t.Context(), source, "", "absent")
		assert.ErrorIs(t, err, meta.ErrNoTable)
		assert.Equal(t, 2, source.readsOf("absent"))
	})
}

// A read that was overtaken by Invalidate must not take the newer entry with
// it when it fails.
func TestFailureOfAnInvalidatedRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, gate := meta.New(schema.SQLite), make(chan struct{})
		failing := &catalogue{before: func(context.Context) error { <-gate; return errors.New("connection lost") }}
		healthy := &catalogue{}
		var group sync.WaitGroup
		group.Go(func() {
			_, err := cache.Table(t.Context(), failing, "", "t")
			assert.ErrorContains(t, err, "connection lost")
		})
		synctest.Wait()
		cache.Invalidate("", "t")
		_, err := cache.Table(t.Context(), healthy, "", "t")
		require.NoError(t, err)
		close(gate)
		group.Wait()
		_, err = cache.Table(t.Context(), healthy, "", "t")
		require.NoError(t, err)
		assert.Equal(t, 1, healthy.readsOf("t"))
	})
}

// A caller whose connection dies must not fail the others that waited for it.
func TestWaitersOutliveAFailedReader(t *testing.T) {
	for name, before := range map[string]func(ctx context.Context) error{
		"error": func(context.Context) error { return errors.New("connection lost") },
		"panic": func(context.Context) error { panic("a driver's bug") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cache, gate := meta.New(schema.SQLite), make(chan struct{})
				failing := &catalogue{before: func(ctx context.Context) error { <-gate; return before(ctx) }}
				healthy := &catalogue{}
				var group sync.WaitGroup
				group.Go(func() {
					defer func() { _ = recover() }()
					_, err := cache.Table(t.Context(), failing, "", "t")
					assert.ErrorContains(t, err, "connection lost")
				})
				synctest.Wait()
				for range 4 {
					group.Go(func() {
						_, err := cache.Table(t.Context(), healthy, "", "t")
						assert.NoError(t, err)
					})
				}
				synctest.Wait()
				close(gate)
				group.Wait()
				assert.Equal(t, 1, healthy.readsOf("t"))
			})
		})
	}
}

func TestWaiterLeavesWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, gate := meta.New(schema.SQLite), make(chan struct{})
		source := &catalogue{before: func(context.Context) error { <-gate; return nil }}
		var group sync.WaitGroup
		group.Go(func() {
			_, err := cache.Table(t.Context(), source, "", "t")
			assert.NoError(t, err)
		})
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := cache.Table(ctx, source, "", "t")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		close(gate)
		group.Wait()
	})
}

func TestCacheForgetsTheOldestTable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cache, source := meta.New(schema.SQLite), &catalogue{}
		get := func(name string) {
			_, err := cache.Table(t.Context(), source, "", name)
			require.NoError(t, err)
		}
		const capacity = 4096
		for i := range capacity + 1 {
			get(fmt.Sprintf("t%d", i))
			time.Sleep(time.Millisecond)
		}
		get("t1")
		assert.Equal(t, 1, source.readsOf("t1"))
		get("t0")
		assert.Equal(t, 2, source.readsOf("t0"))
	})
}

// An answer that makes no sense is an error of the read, not a broken table.
func TestNonsenseFromTheCatalogue(t *testing.T) {
	for name, row := range map[string][]any{
		"too few columns": {"main"},
		"wrong type":      {"main", 1.5, "table"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := meta.New(schema.SQLite).Table(t.Context(), fixed{row}, "", "t")
			assert.ErrorContains(t, err, "catalogue's answer")
		})
	}
}

type fixed [][]any

func (f fixed) Query(context.Context, string, ...any) ([][]any, error) { return f, nil }
