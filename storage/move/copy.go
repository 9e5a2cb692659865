package move

import (
	"context"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/storage"
)

// Errors of Copy. After each the destination is as useful, or as useless, as before.
var (
	// ErrInUse: a coordinator has one of the stores open. Stop it.
	ErrInUse = errors.New("the store is in use")
	// ErrNotEmpty: the destination has transactions, and they are no interrupted
	// copy of this source. Choose another, or empty it.
	ErrNotEmpty = errors.New("the destination is not empty")
	// ErrUnfinished: the store is the destination of a copy that has not been
	// finished. Run the copy again.
	ErrUnfinished = errors.New("the store holds an unfinished copy")
	// ErrDiffers: what was copied is not what the source holds. The destination stays
	// marked as unfinished.
	ErrDiffers = errors.New("the copy differs from its source")
)

// Options say how to copy.
type Options struct {
	// Source names the source, the same in each attempt: by it an interrupted copy
	// is recognised.
	Source string
	// Now is the time in milliseconds since 1970: outcomes that have expired by then
	// are left behind.
	Now int64
	// Parallel is how many transactions are on their way into the destination at
	// once: a store makes few records of many. Default 1024.
	Parallel int
	// Progress, when not nil, tells how far the copy is.
	Progress *Progress
}

const defaultParallel = 1024

// Copy copies what from holds into to, compares both, and returns what was there.
// Nobody else may use either meanwhile. It may be repeated after any error: what
// is there already is not written again. Until it has returned without an error,
// Unfinished refuses the destination.
func Copy(ctx context.Context, from, to storage.Movable, o Options) (Content, error) {
	if o.Parallel == 0 {
		o.Parallel = defaultParallel
	}
	if o.Progress == nil {
		o.Progress = new(Progress)
	}
	c := &copying{from: from, to: to, Options: o}
	content, err := c.run(ctx)
	if err != nil {
		return content, fmt.Errorf("%s: %w", o.Progress.stage(), err)
	}
	return content, nil
}

// copying is one attempt.
type copying struct {
	Options
	from, to storage.Movable
	// present are the transactions that an earlier attempt has written.
	present map[int64]struct{}
}

func (c *copying) run(ctx context.Context) (Content, error) {
	c.Progress.enter("look at the source", 0)
	if err := errors.Join(c.alone(ctx), Unfinished(ctx, c.from)); err != nil {
		return Content{}, err
	}
	content, err := Look(ctx, c.from, c.Now)
	if err != nil {
		return content, err
	}
	if err := c.claim(ctx); err != nil {
		return content, err
	}
	c.Progress.enter("copy the transactions", content.Transactions)
	if err := c.transactions(ctx); err != nil {
		return content, err
	}
	if len(c.present) > 0 { // before anything else is written: they may be of another day
		c.Progress.enter("compare what an earlier attempt has written", content.Transactions)
		if err := c.compareTransactions(ctx); err != nil {
			return content, err
		}
	}
	c.Progress.enter("copy the outcomes of finished transactions", content.Outcomes)
	if err := c.graves(ctx); err != nil {
		return content, err
	}
	if err := errors.Join(c.groups(ctx), c.lastID(ctx)); err != nil {
		return content, err
	}
	c.Progress.enter("compare", content.Transactions)
	if err := c.compare(ctx); err != nil {
		return content, err
	}
	if err := c.alone(ctx); err != nil {
		return content, err
	}
	c.Progress.enter("finish", 0)
	return content, c.to.PutNote(ctx, storage.Note{Kind: storage.NoteMove, Key: c.Source})
}

// alone refuses stores that somebody else uses.
func (c *copying) alone(ctx context.Context) error {
	for _, side := range []struct {
		name  string
		store storage.Movable
	}{{"source", c.from}, {"destination", c.to}} {
		others, err := side.store.Others(ctx)
		if err != nil {
			return fmt.Errorf("the %s: %w", side.name, err)
		}
		if len(others) > 0 {
			return fmt.Errorf("%w: %s has the %s open (%d in all); stop it; one that died is gone when its lease has ended",
				ErrInUse, who(others[0]), side.name, len(others))
		}
	}
	return nil
}

func who(n storage.Node) string {
	if n.Address == "" {
		return "another qiao store command"
	}
	return "the coordinator " + n.Address
}

// claim marks the destination as an unfinished copy, unless it is one of this source.
func (c *copying) claim(ctx context.Context) error {
	marks, err := c.to.Notes(ctx, storage.NoteMove)
	if err != nil {
		return err
	}
	for _, m := range marks {
		if m.Key != c.Source {
			return fmt.Errorf("%w: it holds an unfinished copy of %s, not of %s; finish that one, or empty it", ErrNotEmpty, m.Key, c.Source)
		}
	}
	present := make(map[int64]struct{})
	err = c.to.Scan(ctx, 0, func(s storage.State) bool {
		present[s.Global.ID] = struct{}{}
		return len(marks) > 0
	})
	if err != nil {
		return err
	}
	if len(marks) == 0 {
		if err := noLocks(ctx, c.to); err != nil {
			return err
		}
		for id := range present {
			return fmt.Errorf("%w: it has transactions (%d is one) that are no interrupted copy of %s; choose another, or empty it", ErrNotEmpty, id, c.Source)
		}
		return c.to.PutNote(ctx, storage.Note{Kind: storage.NoteMove, Key: c.Source, Value: "begun"})
	}
	c.present = present
	return nil
}

// noLocks refuses a destination with locks, which may be of a transaction that
// another program has not written down yet.
func noLocks(ctx context.Context, store storage.Store) (held error) {
	err := store.ScanLocks(ctx, func(row storage.RowKey, l storage.Lock) bool {
		held = fmt.Errorf("%w: it has row locks: %w", ErrNotEmpty, &storage.LockHeld{Key: row, Holder: l})
		return false
	})
	return errors.Join(err, held)
}

// Unfinished answers ErrUnfinished when the store is the destination of a copy that
// is not done: no coordinator may use it.
func Unfinished(ctx context.Context, store storage.Movable) error {
	marks, err := store.Notes(ctx, storage.NoteMove)
	if err != nil || len(marks) == 0 {
		return err
	}
	return fmt.Errorf("%w of %s: some of its transactions may be missing; run the same copy again, or empty the store", ErrUnfinished, marks[0].Key)
}

// transactions writes those that are not there yet.
func (c *copying) transactions(ctx context.Context) error {
	w := newWriters(c.Parallel)
	err := c.from.Scan(ctx, 0, func(s storage.State) bool {
		if _, there := c.present[s.Global.ID]; there {
			c.Progress.add(1)
			return true
		}
		return w.write(ctx, func() error {
			err := c.to.Apply(ctx, storage.Whole(&s))
			if err != nil {
				return fmt.Errorf("write transaction %s: %w", s.XID, err)
			}
			c.Progress.add(1)
			return nil
		})
	})
	return errors.Join(err, w.wait())
}

func (c *copying) graves(ctx context.Context) error {
	w := newWriters(c.Parallel)
	err := c.from.Graves(ctx, func(g storage.Grave) bool {
		if g.ExpiresAt <= c.Now {
			return true
		}
		return w.write(ctx, func() error {
			// One that is there already was moved: compare looks at it.
			if err := c.to.Apply(ctx, g.Whole()); err != nil && !errors.Is(err, storage.ErrMoved) {
				return fmt.Errorf("write the outcome of transaction %d: %w", g.ID, err)
			}
			c.Progress.add(1)
			return nil
		})
	})
	return errors.Join(err, w.wait())
}

func (c *copying) groups(ctx context.Context) error {
	groups, err := c.from.Notes(ctx, storage.NoteGroup)
	for _, g := range groups {
		err = errors.Join(err, c.to.PutNote(ctx, g))
	}
	return err
}

// lastID keeps the destination from using an id again that the source has used for
// something that is gone.
func (c *copying) lastID(ctx context.Context) error {
	last, err := c.from.LastID(ctx)
	if err != nil || last == 0 {
		return err
	}
	there, err := c.to.LastID(ctx)
	if err != nil || storage.LaterID(there, last) == there {
		return err
	}
	return c.to.Apply(ctx, storage.Used(last))
}
