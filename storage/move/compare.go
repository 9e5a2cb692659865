package move

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/qiao-tx/qiao/storage"
)

// compare answers ErrDiffers unless the destination holds just what the source holds.
func (c *copying) compare(ctx context.Context) error {
	if err := c.compareTransactions(ctx); err != nil {
		return err
	}
	if err := c.compareLocks(ctx); err != nil {
		return err
	}
	if err := c.compareGraves(ctx); err != nil {
		return err
	}
	if err := c.compareGroups(ctx); err != nil {
		return err
	}
	from, err := c.from.LastID(ctx)
	if err != nil {
		return err
	}
	to, err := c.to.LastID(ctx)
	if err == nil && storage.LaterID(to, from) != to {
		err = fmt.Errorf("%w: the latest id is %d, at the source %d", ErrDiffers, to, from)
	}
	return err
}

// scan hands out the transactions in the order of their ids, and at the end the error.
func scan(ctx context.Context, store storage.Store) iter.Seq2[*storage.State, error] {
	return func(yield func(*storage.State, error) bool) {
		stopped := false
		err := store.Scan(ctx, 0, func(s storage.State) bool {
			stopped = !yield(&s, nil)
			return !stopped
		})
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

func (c *copying) compareTransactions(ctx context.Context) error {
	next, stop := iter.Pull2(scan(ctx, c.to))
	defer stop()
	var a, b []byte
	for s, err := range scan(ctx, c.from) {
		if err != nil {
			return err
		}
		t, err, more := next()
		switch {
		case err != nil:
			return err
		case !more || t.Global.ID > s.Global.ID:
			return fmt.Errorf("%w: transaction %s is missing", ErrDiffers, s.XID)
		case t.Global.ID < s.Global.ID:
			return c.surplus(t)
		}
		a, b = storage.AppendState(a[:0], s), storage.AppendState(b[:0], t)
		if !bytes.Equal(a, b) {
			return fmt.Errorf("%w: transaction %s: at the source %+v, at the destination %+v", ErrDiffers, s.XID, *s, *t)
		}
		c.Progress.add(1)
	}
	if t, err, more := next(); more {
		if err != nil {
			return err
		}
		return c.surplus(t)
	}
	return nil
}

func (c *copying) surplus(t *storage.State) error {
	return fmt.Errorf("%w: the source has no transaction %s (any more): it was used after an earlier attempt; empty the destination and copy again",
		ErrDiffers, t.XID)
}

// digest is the sum of the digests of locks: equal for equal sets in any order.
type digest struct {
	count int64
	sum   [4]uint64
}

func (d *digest) add(row storage.RowKey, l storage.Lock) {
	h := sha256.Sum256(fmt.Appendf(nil, "%q %q %d %d", string(row), l.XID, l.BranchID, l.Status))
	d.count++
	for i := range d.sum {
		d.sum[i] += binary.LittleEndian.Uint64(h[8*i:])
	}
}

func locksOf(ctx context.Context, store storage.Store) (d digest, err error) {
	err = store.ScanLocks(ctx, func(row storage.RowKey, l storage.Lock) bool {
		d.add(row, l)
		return true
	})
	return d, err
}

func (c *copying) compareLocks(ctx context.Context) error {
	from, err := locksOf(ctx, c.from)
	if err != nil {
		return err
	}
	to, err := locksOf(ctx, c.to)
	if err != nil || from == to {
		return err
	}
	return errors.Join(fmt.Errorf("%w: %d rows are locked at the source, %d at the destination, or by others", ErrDiffers, from.count, to.count),
		c.findLock(ctx))
}

// findLock names a lock of the source that the destination does not have.
func (c *copying) findLock(ctx context.Context) (found error) {
	err := c.from.ScanLocks(ctx, func(row storage.RowKey, l storage.Lock) bool {
		var held *storage.LockHeld
		err := c.to.CheckLocks(ctx, "", []storage.RowKey{row})
		if errors.As(err, &held) && held.Holder == l {
			return true
		}
		found = fmt.Errorf("at the source: %w; at the destination: %v", &storage.LockHeld{Key: row, Holder: l}, err)
		return false
	})
	return errors.Join(found, err)
}

func (c *copying) compareGroups(ctx context.Context) error {
	from, err1 := c.from.Notes(ctx, storage.NoteGroup)
	to, err2 := c.to.Notes(ctx, storage.NoteGroup)
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, n := range from {
		if !slices.Contains(to, n) {
			return fmt.Errorf("%w: transaction group %q is missing", ErrDiffers, n.Key)
		}
	}
	return nil
}

func (c *copying) compareGraves(ctx context.Context) error {
	there := make(map[int64]storage.Tombstone)
	err := c.to.Graves(ctx, func(g storage.Grave) bool {
		there[g.ID] = g.Tombstone
		return true
	})
	if err != nil {
		return err
	}
	var differs error
	err = c.from.Graves(ctx, func(g storage.Grave) bool {
		t, found := there[g.ID]
		// What was copied by an earlier attempt may be of an earlier moment.
		if g.ExpiresAt > c.Now && (!found || t.Outcome != g.Outcome || t.ExpiresAt < g.ExpiresAt) {
			differs = fmt.Errorf("%w: transaction %d ended as %s (known until %d), at the destination as %s (%d)",
				ErrDiffers, g.ID, g.Outcome, g.ExpiresAt, t.Outcome, t.ExpiresAt)
		}
		return differs == nil
	})
	return errors.Join(err, differs)
}
