package fence

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// cleanBatch is the number of records that one statement deletes.
const cleanBatch = 200

// Clean deletes the records of ended branches that have not changed for keep,
// and returns how many. A record must outlive the repetitions and delays of its
// branch's calls: keep hours at least. Where Java participants share the table,
// keep more than a day: their times are local, the fence's are UTC.
func (f *Fence) Clean(ctx context.Context, keep time.Duration) (deleted int64, err error) {
	before := time.Now().Add(-keep).UTC().Format(timeFormat)
	for {
		n, err := f.cleanSome(ctx, before)
		deleted += n
		if err != nil {
			return deleted, fmt.Errorf("clean fence table %s: %w", f.table, err)
		}
		if n < cleanBatch {
			return deleted, nil
		}
	}
}

func (f *Fence) cleanSome(ctx context.Context, before string) (int64, error) {
	keys, err := f.ended(ctx, before)
	if err != nil || len(keys) == 0 {
		return 0, err
	}
	where := strings.TrimSuffix(strings.Repeat("(xid = ? AND branch_id = ?) OR ", len(keys)/2), " OR ")
	result, err := f.db.ExecContext(outside(ctx), f.sql("DELETE FROM "+f.table+" WHERE "+where), keys...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// ended returns the keys of some ended branches: xid, branch id, xid, …
func (f *Fence) ended(ctx context.Context, before string) (keys []any, err error) {
	rows, err := f.db.QueryContext(outside(ctx),
		f.sql("SELECT xid, branch_id FROM "+f.table+" WHERE gmt_modified < @ AND status IN (?, ?, ?) LIMIT ?"),
		before, committed, rolledBack, suspended, cleanBatch)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var x string
		var id int64
		if err := rows.Scan(&x, &id); err != nil {
			return nil, err
		}
		keys = append(keys, x, id)
	}
	return keys, rows.Err()
}

// CleanCalls deletes the records of calls with a compensation (GuardCall) that
// stand because their transactions committed, and returns how many. Nothing
// tells a call that its transaction has committed, so ended is asked, for each
// transaction whose records have not changed for keep: tm.Manager.Ended. A record
// must never go while its call may still have to be compensated.
func (f *Fence) CleanCalls(ctx context.Context, keep time.Duration, ended func(ctx context.Context, xid string) (bool, error)) (deleted int64, err error) {
	names := f.callNames()
	before := time.Now().Add(-keep).UTC().Format(timeFormat)
	for last := ""; len(names) > 0; {
		xids, err := f.standing(ctx, before, last, names)
		if err != nil {
			return deleted, fmt.Errorf("clean fence table %s of calls: %w", f.table, err)
		}
		for _, x := range xids {
			n, err := f.cleanCallsOf(ctx, x, before, names, ended)
			deleted += n
			if err != nil {
				return deleted, fmt.Errorf("clean fence table %s of calls of %s: %w", f.table, x, err)
			}
			last = x
		}
		if len(xids) < cleanBatch {
			break
		}
	}
	return deleted, nil
}

// ofCalls is the condition that a record is of a call that stands.
func ofCalls(names []any) string {
	return "status = ? AND gmt_modified < @ AND action_name IN (" + strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ") + ")"
}

// standing returns some transactions with calls that stand, in order, after last.
func (f *Fence) standing(ctx context.Context, before, last string, names []any) (xids []string, err error) {
	args := append([]any{last, tried, before}, names...)
	rows, err := f.db.QueryContext(outside(ctx),
		f.sql("SELECT DISTINCT xid FROM "+f.table+" WHERE xid > ? AND "+ofCalls(names)+" ORDER BY xid LIMIT ?"), append(args, cleanBatch)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var x string
		if err := rows.Scan(&x); err != nil {
			return nil, err
		}
		xids = append(xids, x)
	}
	return xids, rows.Err()
}

func (f *Fence) cleanCallsOf(ctx context.Context, x, before string, names []any, ended func(context.Context, string) (bool, error)) (int64, error) {
	over, err := ended(ctx, x)
	if err != nil || !over {
		return 0, err
	}
	result, err := f.db.ExecContext(outside(ctx), f.sql("DELETE FROM "+f.table+" WHERE xid = ? AND "+ofCalls(names)),
		append([]any{x, tried, before}, names...)...)
	if err != nil {
		return 0, err
	}
	return result.RowsAffected()
}

// CleanerConfig says when a Cleaner cleans.
type CleanerConfig struct {
	// Every is the time between two cleanings. Zero means an hour.
	Every time.Duration
	// Keep is passed to Fence.Clean. Zero means two days.
	Keep time.Duration
	// Ended, when not nil, has records of calls with a compensation cleaned, too;
	// give it tm.Manager.Ended. Without it they stay for ever. See Fence.CleanCalls.
	Ended func(ctx context.Context, xid string) (bool, error)
	// Logger hears of failures. Nil means slog.Default.
	Logger *slog.Logger
}

// Cleaner cleans a fence table again and again.
type Cleaner struct {
	stop    context.CancelFunc
	stopped sync.WaitGroup
}

// StartCleaner starts cleaning f. Close ends it. One Cleaner for each database
// is enough; several do no harm.
func StartCleaner(f *Fence, cfg CleanerConfig) *Cleaner {
	if cfg.Every <= 0 {
		cfg.Every = time.Hour
	}
	if cfg.Keep <= 0 {
		cfg.Keep = 48 * time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	ctx, stop := context.WithCancel(context.Background())
	c := &Cleaner{stop: stop}
	c.stopped.Go(func() { clean(ctx, f, cfg) })
	return c
}

func clean(ctx context.Context, f *Fence, cfg CleanerConfig) {
	ticker := time.NewTicker(cfg.Every)
	defer ticker.Stop()
	for {
		_, err := f.Clean(ctx, cfg.Keep)
		if cfg.Ended != nil {
			_, failed := f.CleanCalls(ctx, cfg.Keep, cfg.Ended)
			err = errors.Join(err, failed)
		}
		if err != nil && ctx.Err() == nil {
			cfg.Logger.Warn("fence records not cleaned; trying again later", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Close stops the cleaning and waits for its end.
func (c *Cleaner) Close() {
	c.stop()
	c.stopped.Wait()
}
