package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/action"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type address struct {
	City string `json:"city"`
}

type order struct {
	Item    string   `json:"item"`
	Count   int64    `json:"count"`
	Address *address `json:"address"`
	Tags    []string `json:"tags"`
}

// Java puts a parameter of the try as JSON, and what the try adds later as text
// with JSON inside; numbers and truth values stay what they are.
func TestDataAsJavaWritesIt(t *testing.T) {
	want := order{"hat", 3, &address{"Hangzhou"}, []string{"a", "b"}}
	for _, data := range []string{
		`{"actionContext":{"item":"hat","count":3,"address":{"city":"Hangzhou"},"tags":["a","b"],"sys::prepare":"prepare","sys::commit":"commit"}}`,
		`{"actionContext":{"item":"hat","count":3,"address":"{\"city\":\"Hangzhou\"}","tags":"[\"a\",\"b\"]","actionName":"x"}}`,
	} {
		c, err := action.Parse(data)
		require.NoError(t, err)
		got, err := action.Decode[order](c)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	c, err := action.Parse(`{"actionContext":{"item":"7"}}`)
	require.NoError(t, err)
	got, err := action.Decode[order](c)
	require.NoError(t, err)
	assert.Equal(t, "7", got.Item, "a text that could be JSON stays a text where one is wanted")
}

// What is Seata's own reaches no field of an argument, in whatever case its name
// is written.
func TestNamesLikeSeatasOwn(t *testing.T) {
	type named struct {
		ActionName string `json:",omitempty"`
		Note       string
	}
	type embedding struct{ named }
	data, err := action.Encode(action.Environment{Action: "reserve"}, named{Note: "x"})
	require.NoError(t, err)
	c, err := action.Parse(data)
	require.NoError(t, err)
	got, err := action.Decode[named](c)
	require.NoError(t, err)
	assert.Equal(t, named{Note: "x"}, got)
	outer, err := action.Decode[embedding](c)
	require.NoError(t, err)
	assert.Equal(t, embedding{named{Note: "x"}}, outer)
	_, err = action.Encode(action.Environment{}, map[string]int{"useTCCFence": 1})
	assert.ErrorContains(t, err, "useTCCFence")
	data, err = action.Encode(action.Environment{}, map[string]string{"text": `"actionName"`})
	require.NoError(t, err, "only the names of fields count")
	assert.Contains(t, data, "text")
}

func FuzzDataFromOthers(f *testing.F) {
	for _, seed := range []string{"", "{}", `{"actionContext":null}`, `{"actionContext":{"item":"hat","qiao::argument":1}}`,
		`{"actionContext":{"count":"3","action-start-time":1e400}}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, data string) {
		c, err := action.Parse(data)
		if err != nil {
			return
		}
		_ = c.Started()
		got, err := action.Decode[order](c)
		if err != nil {
			return
		}
		again, err := action.Encode(action.Environment{Action: "a"}, got)
		require.NoError(t, err, "what was read can be written")
		c, err = action.Parse(again)
		require.NoError(t, err)
		back, err := action.Decode[order](c)
		require.NoError(t, err)
		require.Equal(t, got, back)
	})
}

// reporter is a Coordinator that keeps what it was told.
type reporter struct {
	rm.Coordinator
	reports []rm.Report
	err     error
}

func (r *reporter) RegisterBranch(context.Context, rm.Registration) (int64, error) { return 7, nil }
func (r *reporter) ReportBranch(_ context.Context, report rm.Report) error {
	r.reports = append(r.reports, report)
	return r.err
}

func TestShare(t *testing.T) {
	r := &reporter{}
	env := action.Environment{Action: "book", Fenced: true, Started: time.UnixMilli(1_700_000_000_000)}
	ctx, err := action.Register(xid.NewContext(t.Context(), "tc:8091:1"), r, protocol.TypeTCC, env, order{Item: "hat"})
	require.NoError(t, err)
	require.NoError(t, action.Share(ctx, order{Item: "hat", Count: 42}))
	require.Len(t, r.reports, 1)
	told := r.reports[0]
	assert.EqualValues(t, 7, told.ID)
	assert.Equal(t, "tc:8091:1", told.XID)
	assert.Equal(t, protocol.BranchRegistered, told.Status, "the branch is not over")
	var got order
	require.NoError(t, action.Obey(t.Context(), action.Policy{}, told.Branch, func(_ context.Context, o order) error { got = o; return nil }))
	assert.Equal(t, order{Item: "hat", Count: 42}, got)
	c, err := action.Parse(told.ApplicationData)
	require.NoError(t, err)
	assert.Equal(t, env.Started, c.Started())
	assert.Contains(t, string(c), `"useTCCFence":true`, "the rest of the context stays")

	r.err = rm.ErrUnavailable
	assert.ErrorIs(t, action.Share(ctx, order{}), rm.ErrUnavailable)
	assert.ErrorContains(t, action.Share(t.Context(), order{}), "phase one")
	inside := action.WithBranch(ctx, rm.Branch{ID: 8})
	assert.ErrorContains(t, action.Share(inside, order{}), "phase one", "another branch's function")
	assert.ErrorContains(t, action.Share(ctx, map[string]any{"actionName": 1}), "actionName")
}

var errAway = errors.New("the database is away")

func TestRepetition(t *testing.T) {
	started, err := json.Marshal(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMilli()) // when synctest's clock begins
	require.NoError(t, err)
	b := rm.Branch{ApplicationData: `{"actionContext":{"action-start-time":` + string(started) + `}}`}
	for _, c := range []struct {
		name   string
		policy action.Policy
		age    time.Duration // of the try
		fails  int           // how many calls fail
		err    error         // what they fail with
		calls  int
		took   time.Duration
		status protocol.BranchStatus
	}{
		{"once", action.Policy{}, 0, 9, errAway, 1, 0, protocol.BranchPhaseTwoCommitFailedRetryable},
		{"thrice", action.Policy{Retry: action.Retry{Attempts: 3}}, 0, 2, errAway, 3, 300 * time.Millisecond, protocol.BranchPhaseTwoCommitted},
		{"thrice in vain", action.Policy{Retry: action.Retry{Attempts: 3, Wait: time.Second}}, 0, 9, errAway, 3, 3 * time.Second,
			protocol.BranchPhaseTwoCommitFailedRetryable},
		{"hopeless", action.Policy{Retry: action.Retry{Attempts: 3}}, 0, 9, action.Unretryable(errAway), 1, 0,
			protocol.BranchPhaseTwoCommitFailedUnretryable},
		{"young", action.Policy{Retry: action.Retry{GiveUpAfter: time.Hour}}, time.Minute, 9, errAway, 1, 0,
			protocol.BranchPhaseTwoCommitFailedRetryable},
		{"too old", action.Policy{Retry: action.Retry{GiveUpAfter: time.Hour}}, 2 * time.Hour, 9, errAway, 1, 0,
			protocol.BranchPhaseTwoCommitFailedUnretryable},
		{"old and well", action.Policy{Retry: action.Retry{GiveUpAfter: time.Hour}}, 2 * time.Hour, 0, nil, 1, 0,
			protocol.BranchPhaseTwoCommitted},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(c.age)
				begin, calls := time.Now(), 0
				err := action.Obey(t.Context(), c.policy, b, func(context.Context, order) error {
					if calls++; calls <= c.fails {
						return c.err
					}
					return nil
				})
				assert.Equal(t, c.calls, calls)
				assert.Equal(t, c.took, time.Since(begin))
				assert.Equal(t, c.status, action.CommitStatus(err), "%v", err)
				if err != nil {
					assert.ErrorIs(t, err, errAway)
				}
			})
		})
	}
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := action.Policy{Timeout: time.Second, Retry: action.Retry{Attempts: 2, Wait: time.Second}}
		begin := time.Now()
		hang := func(ctx context.Context, _ order) error { <-ctx.Done(); return ctx.Err() }
		err := action.Obey(t.Context(), p, rm.Branch{}, hang)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Second, time.Since(begin), "two calls and a pause")

		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		begin = time.Now()
		assert.Error(t, action.Obey(ctx, p, rm.Branch{}, hang))
		assert.Equal(t, 1500*time.Millisecond, time.Since(begin), "the order's own bound ends the pause")
	})
	assert.Error(t, action.Policy{Timeout: -1}.Validate())
	assert.Error(t, action.Policy{Retry: action.Retry{Attempts: -1}}.Validate())
	assert.NoError(t, action.Policy{}.Validate())
}
