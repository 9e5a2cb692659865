package hessian_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/hessian"
)

// check decodes foreign bytes. The outcome must be a typed error, or a message
// whose encoded form is the same after another turn.
func check(tb testing.TB, body []byte) {
	m, names, err := hessian.Decode(body)
	if err != nil {
		var e *codec.Error
		if !errors.As(err, &e) {
			tb.Fatalf("%x: %T is no *codec.Error", body, err)
		}
		return
	}
	once, err := hessian.Append(nil, m, names)
	if err != nil {
		tb.Fatalf("%x decodes to %+v, which is not encoded: %v", body, m, err)
	}
	back, names, err := hessian.Decode(once)
	if err != nil {
		tb.Fatalf("%x decodes to %+v, which is not decoded again: %v", body, m, err)
	}
	twice, err := hessian.Append(nil, back, names)
	if err != nil || !bytes.Equal(once, twice) {
		tb.Fatalf("%x decodes to %+v, then to %+v, %v", body, m, back, err)
	}
}

// Damaged bytes must not panic, hang, or be taken for something that cannot be
// written back.
func TestDamagedBodies(t *testing.T) {
	n := 0
	for _, c := range few(loadJava(t), 1) {
		codectest.EachDamage(c.body, func(damaged []byte) {
			if n++; n%sampleEvery == 0 {
				check(t, damaged)
			}
		})
	}
}

// A length or count in damaged bytes must not make the decoder reserve memory
// that the bytes do not warrant.
func TestDamagedBodiesCostLittleMemory(t *testing.T) {
	const perByte, flat = 32, 2048 // bytes of memory that one decoding may use
	for _, c := range few(loadJava(t), 1) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n := 0
		runs := codectest.EachDamage(c.body, func(damaged []byte) {
			if n++; n%sampleEvery == 0 {
				_, _, _ = hessian.Decode(damaged)
			}
		}) / sampleEvery
		runtime.ReadMemStats(&after)
		limit := (runs + 1) * (flat + perByte*len(c.body))
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(limit), c.Class)
	}
}

func FuzzHessian(f *testing.F) {
	for _, c := range few(loadJava(f), 1) {
		f.Add(c.body)
	}
	for _, m := range filled() {
		body, err := hessian.Append(nil, m, codec.IO)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { check(t, body) })
}

// few returns at most n bodies of each class.
func few(all []javaBody, n int) []javaBody {
	var some []javaBody
	seen := map[string]int{}
	for _, b := range all {
		if seen[b.Class]++; seen[b.Class] <= n {
			some = append(some, b)
		}
	}
	return some
}
