package move

import (
	"context"

	"github.com/qiao-tx/qiao/storage"
)

// Content says what a store holds.
type Content struct {
	Transactions int64 `json:"transactions"`
	Branches     int64 `json:"branches"`
	// Locks counts the rows that are locked.
	Locks int64 `json:"locks"`
	// Outcomes counts the finished transactions that still answer with theirs.
	Outcomes int64 `json:"outcomes"`
	// Groups counts the transaction groups that have a cluster.
	Groups int64 `json:"groups"`
	// LastID is the latest transaction or branch id ever used.
	LastID int64 `json:"lastId,string"`
	// Statuses counts the transactions by status.
	Statuses map[string]int64 `json:"statuses"`
}

// Look tells what Copy would copy at a time, in milliseconds since 1970.
func Look(ctx context.Context, store storage.Movable, now int64) (Content, error) {
	c := Content{Statuses: make(map[string]int64)}
	err := store.Scan(ctx, 0, func(s storage.State) bool {
		c.Transactions++
		c.Branches += int64(len(s.Branches))
		c.Statuses[s.Global.Status.String()]++
		return true
	})
	if err != nil {
		return c, err
	}
	err = store.ScanLocks(ctx, func(storage.RowKey, storage.Lock) bool {
		c.Locks++
		return true
	})
	if err != nil {
		return c, err
	}
	err = store.Graves(ctx, func(g storage.Grave) bool {
		if g.ExpiresAt > now {
			c.Outcomes++
		}
		return true
	})
	if err != nil {
		return c, err
	}
	groups, err := store.Notes(ctx, storage.NoteGroup)
	if err != nil {
		return c, err
	}
	c.Groups = int64(len(groups))
	c.LastID, err = store.LastID(ctx)
	return c, err
}
