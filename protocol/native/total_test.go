package native_test

import (
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/native"
)

// check decodes foreign bytes. The outcome must be a typed error, or a message
// that is encoded and decoded to itself.
func check(tb testing.TB, body []byte) {
	m, err := native.Decode(body)
	if err != nil {
		var e *native.Error
		if !errors.As(err, &e) {
			tb.Fatalf("%x: %T is no *native.Error", body, err)
		}
		return
	}
	again, err := native.Append(nil, m)
	if err != nil {
		tb.Fatalf("%x decodes to %+v, which is not encoded: %v", body, m, err)
	}
	back, err := native.Decode(again)
	if err != nil || !reflect.DeepEqual(m, back) {
		tb.Fatalf("%x decodes to %+v, then to %+v, %v", body, m, back, err)
	}
}

// eachDamage calls f with every truncation of body and every flip of one bit,
// and returns how often.
func eachDamage(body []byte, f func(damaged []byte)) int {
	for n := range body {
		f(body[:n])
	}
	for i := range body {
		for bit := range 8 {
			body[i] ^= 1 << bit
			f(body)
			body[i] ^= 1 << bit
		}
	}
	return 9 * len(body)
}

// Damaged bytes must not panic, hang, or be taken for something that cannot be
// written back.
func TestDamagedBodies(t *testing.T) {
	for _, c := range loadCaptured(t) {
		eachDamage(c.Body, func(damaged []byte) { check(t, damaged) })
	}
}

// A length or count in damaged bytes must not make the decoder reserve memory
// that the bytes do not warrant.
func TestDamagedBodiesCostLittleMemory(t *testing.T) {
	const perByte, flat = 32, 2048 // bytes of memory that one decoding may use
	for _, c := range loadCaptured(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		runs := eachDamage(c.Body, func(damaged []byte) { _, _ = native.Decode(damaged) })
		runtime.ReadMemStats(&after)
		limit := runs * (flat + perByte*len(c.Body))
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(limit), c.Name)
	}
}

func FuzzNative(f *testing.F) {
	seen := map[string]bool{}
	for _, c := range loadCaptured(f) {
		if class := c.Decoded["@class"].(string); !seen[class] {
			seen[class] = true
			f.Add(c.Body)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) { check(t, body) })
}
