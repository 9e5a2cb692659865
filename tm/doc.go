// Package tm is the transaction manager's side of a global transaction: where
// one begins, and where it is decided.
//
// Job: Run a function as a global transaction; begin, commit, roll back and
// look one up; say truthfully how it ended.
// Owner: the application calls it; client joins it to the wire.
// It must not know: connections, branches, or what a resource manager does.
//
//	err := c.TM().Run(ctx, tm.Options{Name: "place-order"}, func(ctx context.Context) error {
//		if err := stock.Deduct(ctx, item, 1); err != nil {
//			return err // rolls back, everywhere
//		}
//		return account.Debit(ctx, user, price) // nil commits
//	})
package tm
