package carry_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const (
	one   = "10.0.0.7:8091:42"
	other = "10.0.0.8:8091:43"
)

// pair is a key and a value as a framework hands them over.
type pair struct {
	key   string
	value any
}

var judgements = []struct {
	name     string
	received []pair
	allowed  []string // coordinators
	xid      string
	branch   string // "" is AT
	err      error
	says     string
}{
	{name: "nothing"},
	{name: "keys of others", received: []pair{{"TX_XIDS", "x"}, {"traceparent", 7}, {"", nil}}},
	{name: "one", received: []pair{{"TX_XID", one}}, xid: one},
	{name: "lower case", received: []pair{{"tx_xid", one}}, xid: one},
	{name: "mixed case", received: []pair{{"Tx_Xid", []string{one}}}, xid: one},
	{name: "as seata-go writes it", received: []pair{{"SEATA_XID", one}}, xid: one},
	{name: "spaces around", received: []pair{{"TX_XID", " " + one + "\t"}}, xid: one},
	{name: "the same in both cases", received: []pair{{"TX_XID", one}, {"tx_xid", one}}, xid: one},
	{name: "the same twice, joined by a proxy", received: []pair{{"TX_XID", one + ", " + one}}, xid: one},
	{name: "a list of Java's", received: []pair{{"TX_XID", []any{one, one}}}, xid: one},
	{name: "an empty list", received: []pair{{"TX_XID", []string{}}, {"tx_xid", []any{}}}},
	{name: "null", received: []pair{{"TX_XID", nil}}},

	{name: "branch type SAGA", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", "SAGA"}}, xid: one, branch: "SAGA"},
	{name: "branch type SAGA_ANNOTATION", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", "SAGA_ANNOTATION"}}, xid: one, branch: "SAGA_ANNOTATION"},
	{name: "branch type TCC", received: []pair{{"TX_XID", one}, {"tx_branch_type", "TCC"}}, xid: one, branch: "TCC"},
	{name: "branch type AT", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", "AT"}}, xid: one},
	{name: "a branch type of a later Seata", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", "FUTURE"}}, xid: one},
	{name: "a branch type alone", received: []pair{{"TX_BRANCH_TYPE", "TCC"}}},

	{name: "blank", received: []pair{{"TX_XID", ""}}, err: carry.ErrMalformed, says: "TX_XID"},
	{name: "no XID", received: []pair{{"TX_XID", "nonsense"}}, err: carry.ErrMalformed, says: `"nonsense": want host:port:id`},
	{name: "a negative id", received: []pair{{"TX_XID", "h:1:-5"}}, err: carry.ErrMalformed, says: "h:1:-5"},
	{name: "not ASCII", received: []pair{{"TX_XID", "bücher:1:5"}}, err: carry.ErrMalformed, says: `"bücher:1:5": want printable ASCII`},
	{name: "not UTF-8", received: []pair{{"TX_XID", "h\xff:1:5"}}, err: carry.ErrMalformed, says: `"h\xff:1:5"`},
	{name: "a line end", received: []pair{{"TX_XID", "h\nx:1:5"}}, err: carry.ErrMalformed, says: `"h\nx:1:5"`},
	{name: "a megabyte", received: []pair{{"tx_xid", strings.Repeat(",", 1<<20)}}, err: carry.ErrMalformed, says: "TX_XID: malformed XID: a value of 1048576 bytes; send one"},
	{name: "a branch type of a megabyte", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", strings.Repeat("T", 1<<20)}}, err: carry.ErrMalformed, says: "a value of 1048576 bytes"},
	{name: "bytes", received: []pair{{"TX_XID", []byte(one)}}, err: carry.ErrMalformed, says: "type []uint8; send one string"},
	{name: "a number", received: []pair{{"tx_xid", int64(42)}}, err: carry.ErrMalformed, says: "TX_XID: malformed XID: a value of type int64"},
	{name: "a list in a list", received: []pair{{"TX_XID", []any{[]any{one}}}}, err: carry.ErrMalformed, says: "[]interface"},
	{name: "a map", received: []pair{{"TX_XID", map[string]any{"x": one}}}, err: carry.ErrMalformed, says: "map"},
	{name: "a branch type that is a number", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", 1}}, err: carry.ErrMalformed, says: "TX_BRANCH_TYPE"},
	{name: "two", received: []pair{{"TX_XID", []string{one, other}}}, err: carry.ErrAmbiguous, says: one + " and " + other + "; send one"},
	{name: "two, joined by a proxy", received: []pair{{"TX_XID", one + "," + other}}, err: carry.ErrAmbiguous},
	{name: "two under two keys", received: []pair{{"TX_XID", one}, {"SEATA_XID", other}}, err: carry.ErrAmbiguous},
	{name: "one and nonsense", received: []pair{{"TX_XID", one}, {"tx_xid", "x"}}, err: carry.ErrMalformed},
	{name: "two branch types", received: []pair{{"TX_XID", one}, {"TX_BRANCH_TYPE", []string{"AT", "TCC"}}}, err: carry.ErrAmbiguous, says: "TX_BRANCH_TYPE"},

	{name: "an allowed coordinator", received: []pair{{"TX_XID", one}}, allowed: []string{"tc:1", "10.0.0.7:8091"}, xid: one},
	{name: "a foreign coordinator", received: []pair{{"TX_XID", other}}, allowed: []string{"10.0.0.7:8091"}, err: carry.ErrForeign,
		says: "10.0.0.8:8091 is none of 10.0.0.7:8091"},
}

func TestJudgements(t *testing.T) {
	for _, j := range judgements {
		t.Run(j.name, func(t *testing.T) {
			received := func() *carry.Received {
				var r carry.Received
				for _, p := range j.received {
					r.Add(p.key, p.value)
				}
				return &r
			}
			strict := carry.Policy{Coordinators: j.allowed}
			ctx, err := strict.Join(t.Context(), received())
			// A server that serves a call inside another's context must not let the
			// outer transaction leak into a call whose own is ignored.
			within := xid.NewContext(t.Context(), "h:1:1")
			lenient, lenientErr := carry.Policy{Coordinators: j.allowed, IgnoreMalformed: true}.Join(within, received())
			require.NoError(t, lenientErr)
			if j.err != nil {
				require.ErrorIs(t, err, j.err)
				assert.Contains(t, err.Error(), j.says)
				assert.Nil(t, ctx)
				assert.Empty(t, xid.FromContext(lenient))
				return
			}
			require.NoError(t, err)
			assert.Equal(t, j.xid, xid.FromContext(ctx))
			if j.xid == "" {
				assert.Equal(t, within, lenient)
				return
			}
			if j.branch == "" {
				j.branch = xid.TypeAT
			}
			assert.Equal(t, j.branch, xid.BranchType(ctx))
			assert.Equal(t, j.xid, xid.FromContext(lenient))
		})
	}
}

func TestWhatACallCarries(t *testing.T) {
	_, ok := carry.From(t.Context())
	assert.False(t, ok)
	_, ok = carry.From(xid.WithBranchType(t.Context(), xid.TypeTCC))
	assert.False(t, ok, "a branch type is nothing without a transaction")

	ctx := xid.NewContext(t.Context(), one)
	c, ok := carry.From(ctx)
	assert.True(t, ok)
	assert.Equal(t, carry.Call{XID: one, BranchType: "AT"}, c)

	inTry := xid.WithBranchType(ctx, xid.TypeTCC)
	c, _ = carry.From(inTry)
	assert.Equal(t, carry.Call{XID: one, BranchType: "TCC"}, c)

	c, _ = carry.From(xid.NewContext(inTry, other))
	assert.Equal(t, carry.Call{XID: other, BranchType: "AT"}, c, "the type belongs to its transaction")
}

// Whatever arrives: what is joined is exactly a well-formed XID that was sent.
func FuzzJoin(f *testing.F) {
	f.Add("TX_XID", one, "tx_xid", other)
	f.Add("TX_XID", one+", "+one, "TX_BRANCH_TYPE", "TCC")
	f.Add("SEATA_XID", ",", "", "")
	f.Fuzz(func(t *testing.T, key1, value1, key2, value2 string) {
		var r carry.Received
		r.Add(key1, value1)
		r.Add(key2, []any{value2})
		ctx, err := carry.Policy{}.Join(t.Context(), &r)
		if err != nil {
			return
		}
		if x := xid.FromContext(ctx); x != "" {
			_, _, err := xid.Parse(x)
			require.NoError(t, err)
			require.Contains(t, value1+" "+value2, x)
		}
	})
}
