// Package actiongen writes the Go code that turns an annotated interface into TCC
// actions and calls with a compensation.
//
// Job: read the interfaces of one Go file whose methods carry //qiao: comments;
// say by line what is wrong with them; print the file that registers them.
// Owner: qiao gen.
// It must not know: files on a disk, coordinators.
//
// A comment stands at the method of phase one and names the methods of phase two:
//
//	type Stock interface {
//		// Reserve sets pieces aside.
//		//qiao:tcc name=stock-reserve confirm=Take cancel=GiveBack timeout=5s attempts=3
//		Reserve(ctx context.Context, item string, count int) error
//		Take(ctx context.Context, item string, count int) error
//		GiveBack(ctx context.Context, item string, count int) error
//
//		//qiao:compensation name=stock-order compensate=CancelOrder
//		Order(ctx context.Context, order Order) (string, error)
//		CancelOrder(ctx context.Context, order Order) error
//	}
//
// With a parameter tx *sql.Tx behind ctx, in all methods of an action, it is fenced.
package actiongen
