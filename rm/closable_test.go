package rm_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/rm"
)

type closable struct {
	resource
	ended bool
}

func (c *closable) Closed() bool { return c.ended }

// A database that was closed may be opened again in the same process, and takes
// the orders from then on.
func TestAClosedResourceMakesRoom(t *testing.T) {
	m := rm.NewManager(slog.New(slog.DiscardHandler))
	old := &closable{resource: resource{id: "a", kind: protocol.TypeAT}}
	again := &closable{resource: resource{id: "a", kind: protocol.TypeAT,
		answer: func(rm.Branch) (protocol.BranchStatus, error) { return protocol.BranchPhaseTwoCommitted, nil }}}
	require.NoError(t, m.Add(old))
	require.ErrorContains(t, m.Add(again), "close it first")
	old.ended = true
	require.NoError(t, m.Add(again))
	answer := m.Handle(t.Context(), &protocol.BranchCommit{BranchOrder: protocol.BranchOrder{XID: "x", BranchID: 1, Type: protocol.TypeAT, ResourceID: "a"}})
	assert.Equal(t, protocol.BranchPhaseTwoCommitted, answer.(*protocol.BranchCommitResult).Status)
	assert.Equal(t, []string{"a"}, m.IDs())
}
