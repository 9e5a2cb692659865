package tcc_test

import (
	"context"
	"testing"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm/tcc"
)

// BenchmarkBranch is what this package costs a branch: a try and its confirm,
// without a coordinator and without business.
func BenchmarkBranch(b *testing.B) {
	reg := &registry{}
	nop := func(context.Context, reservation) error { return nil }
	h, err := tcc.Register(b.Context(), reg, tcc.Action[reservation]{Name: "a", Try: nop, Confirm: nop, Cancel: nop})
	if err != nil {
		b.Fatal(err)
	}
	ctx := xid.NewContext(b.Context(), theXID)
	b.ReportAllocs()
	for b.Loop() {
		reg.branches = reg.branches[:0]
		if err := h.Try(ctx, reservation{"hat", 2}); err != nil {
			b.Fatal(err)
		}
		if _, err := reg.resource.Commit(ctx, reg.branch(0)); err != nil {
			b.Fatal(err)
		}
	}
}
