package barrier_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/rm/tcc/barrier"
	"github.com/qiao-tx/qiao/rm/tcc/fence"
)

func TestHeadersThereAndBack(t *testing.T) {
	want := barrier.Barrier{XID: "tc:8091:42", Branch: -7, Op: barrier.Cancel, Action: "orders"}
	h := http.Header{}
	want.Set(h)
	got, err := barrier.FromHeader(h)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	md := map[string][]string{}
	for name, values := range h {
		md[strings.ToLower(name)] = values
	}
	got, err = barrier.FromMetadata(md)
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func TestHeadersThatAreNoBarrier(t *testing.T) {
	for want, spoil := range map[string]func(h http.Header){
		"Qiao-Xid is missing":            func(h http.Header) { h.Del(barrier.HeaderXID) },
		"Qiao-Op is missing":             func(h http.Header) { h.Del(barrier.HeaderOp) },
		"2 times":                        func(h http.Header) { h.Add(barrier.HeaderBranch, "8") },
		`"7x" is no number`:              func(h http.Header) { h.Set(barrier.HeaderBranch, "7x") },
		`"commit": want try, confirm`:    func(h http.Header) { h.Set(barrier.HeaderOp, "commit") },
		"129 bytes":                      func(h http.Header) { h.Set(barrier.HeaderXID, strings.Repeat("x", 129)) },
		"0 bytes":                        func(h http.Header) { h.Set(barrier.HeaderXID, "") },
		"Qiao-Action has 65 bytes":       func(h http.Header) { h.Set(barrier.HeaderAction, strings.Repeat("x", 65)) },
		`"99999999999999999999" is no n`: func(h http.Header) { h.Set(barrier.HeaderBranch, "99999999999999999999") },
	} {
		h := http.Header{}
		barrier.Barrier{XID: "tc:8091:42", Branch: 7, Op: barrier.Try}.Set(h)
		spoil(h)
		_, err := barrier.FromHeader(h)
		assert.ErrorIs(t, err, barrier.ErrNoBarrier)
		assert.ErrorContains(t, err, want)
	}
	assert.ErrorIs(t, barrier.Barrier{Op: "x"}.Do(t.Context(), nil, nil), barrier.ErrNoBarrier)

	handler := barrier.Handler(nil, func(*sql.Tx, barrier.Barrier, *http.Request) error { t.Error("called"); return nil })
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/", nil))
	assert.Equal(t, http.StatusBadRequest, answer.Code)
	assert.Contains(t, answer.Body.String(), "Qiao-Xid is missing")
}

func FuzzHeaders(f *testing.F) {
	f.Add("tc:8091:42", "7", "try", "orders")
	f.Fuzz(func(t *testing.T, x, branch, op, action string) {
		h := http.Header{barrier.HeaderXID: {x}, barrier.HeaderBranch: {branch}, barrier.HeaderOp: {op}, barrier.HeaderAction: {action}}
		b, err := barrier.FromHeader(h)
		if err != nil {
			return
		}
		again := http.Header{}
		b.Set(again)
		back, err := barrier.FromHeader(again)
		require.NoError(t, err)
		require.Equal(t, b, back)
	})
}

func TestNever(t *testing.T) {
	errBusiness := errors.New("no stock")
	assert.True(t, barrier.Never(fmt.Errorf("try: %w", barrier.Refuse(errBusiness))))
	assert.ErrorIs(t, barrier.Refuse(errBusiness), errBusiness)
	assert.True(t, barrier.Never(fmt.Errorf("try: %w", fence.ErrSuspended)))
	assert.True(t, barrier.Never(fence.ErrContradiction))
	assert.False(t, barrier.Never(errBusiness))
	assert.False(t, barrier.Never(fence.ErrNotTried))
	assert.NoError(t, barrier.Refuse(nil))
}
