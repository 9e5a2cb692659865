package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/internal/testenv"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Two leaders are killed under load: others take over, and what was acknowledged
// stands. How long it takes is for make failover to say.
func TestLeadersAreKilled(t *testing.T) {
	dir := t.TempDir()
	program, err := testenv.BuildQiao(dir)
	require.NoError(t, err)
	r, err := run(t.Context(), options{kills: 2, callers: 16, pause: 300 * time.Millisecond, program: program}, dir, t.Logf)
	require.NoError(t, err)
	require.Len(t, r.away, 2)
	t.Log(r)
}

// The check sees what it is for.
func TestCheckSeesWhatIsLost(t *testing.T) {
	for _, test := range []struct {
		want, got decision
		err       string
	}{
		{committed, committed, ""},
		{rolledBack, rolledBack, ""},
		{open, rolledBack, "nothing was committed"},
		{committed, open, "ordered 0"},
		{committed, rolledBack, "ordered 2"},
		{rolledBack, committed, "ordered 1"},
	} {
		l := &load{wanted: map[string]decision{"x": test.want, "other": committed}, ordered: map[string]decision{"x": test.got, "other": committed}}
		if test.want == open {
			delete(l.wanted, "other")
		}
		_, err := l.check(t.Context())
		if test.err == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, test.err)
	}
	l := &load{wanted: map[string]decision{"x": committed}, ordered: make(map[string]decision)}
	table{l}.order("x", rolledBack)
	table{l}.order("x", committed)
	_, err := l.check(t.Context())
	require.ErrorContains(t, err, "to commit and to roll back")
}
