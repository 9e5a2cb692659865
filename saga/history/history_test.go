package history_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
)

func row(h *history.History, path string, kind history.Kind, status machine.Status) *machine.Row {
	r := &machine.Row{ID: "id of " + path, ServiceMethod: path, Type: string(kind), Name: "n", Status: status}
	h.Number(r)
	return r
}

// TestOrderIsNotThatOfTheClock: results come in the order of their events, though
// the clock was put back, and rows are read in any order.
func TestOrderIsNotThatOfTheClock(t *testing.T) {
	w := history.New(nil)
	a, b := row(w, "1.1.1", history.Step, machine.Succeeded), row(w, "1.2.1", history.Step, machine.Succeeded)
	noon := time.Date(2026, 10, 25, 12, 0, 0, 0, time.UTC)
	w.End(b, noon, `"b"`)
	w.End(a, noon.Add(-time.Hour), `"a"`)
	h := history.New([]*machine.Row{b, a})
	assert.Equal(t, []*machine.Row{a, b}, h.Rows())
	for _, r := range []*machine.Row{a, b} {
		_, err := h.Visit(history.PlaceOf(r))
		require.NoError(t, err)
	}
	for _, want := range []*machine.Row{b, a} {
		got, err := h.NextEnds()
		require.NoError(t, err)
		assert.Equal(t, []*machine.Row{want}, got)
	}
	assert.False(t, h.Behind())
	assert.Equal(t, noon, history.Ended(b))
	assert.Equal(t, `"a"`, history.Value(a))
	assert.Equal(t, []*machine.Row{b, a}, h.ToUndo(), "the reverse order of their begins")
}

// TestNothingNewBeforeTheLogIsDone: a replay that does something new while the log
// has more is one of changed code, wherever the log goes on.
func TestNothingNewBeforeTheLogIsDone(t *testing.T) {
	w := history.New(nil)
	a := row(w, "1.1.1", history.Step, machine.Succeeded)
	w.End(a, time.Now(), "1")
	b := row(w, "1.2.1", history.Timer, machine.Running)
	h := history.New([]*machine.Row{a, b})
	var d *history.Difference
	_, err := h.Visit(history.Place{Path: "1.1.1", Kind: history.Timer, Name: "n"})
	require.ErrorAs(t, err, &d)
	_, err = h.Visit(history.Place{Path: "1.3.1", Kind: history.Step, Name: "new"})
	require.ErrorAs(t, err, &d)
	assert.Equal(t, history.PlaceOf(a), d.Logged)
	_, err = h.NextEnds()
	require.ErrorAs(t, err, &d)
	_, err = h.Visit(history.PlaceOf(a))
	require.NoError(t, err)
	_, err = h.NextEnds()
	require.NoError(t, err)
	err = h.Complete()
	require.ErrorAs(t, err, &d)
	assert.EqualError(t, err, `the log has timer "n" at 1.2.1, the code does not come to it`)
	_, err = h.Visit(history.PlaceOf(b))
	require.NoError(t, err)
	require.NoError(t, h.Complete())
	_, err = h.Visit(history.Place{Path: "1.3.1", Kind: history.Step, Name: "new"})
	require.NoError(t, err)
}
