package pb_test

import (
	"bytes"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol/codec"
	"github.com/qiao-tx/qiao/protocol/codectest"
	"github.com/qiao-tx/qiao/protocol/pb"
)

// check decodes foreign bytes. The outcome must be a typed error, or a message
// whose encoded form is the same after another turn.
func check(tb testing.TB, body []byte) {
	m, names, err := pb.Decode(body)
	if err != nil {
		var e *codec.Error
		if !errors.As(err, &e) {
			tb.Fatalf("%x: %T is no *codec.Error", body, err)
		}
		return
	}
	once, err := pb.Append(nil, m, names)
	if err != nil {
		tb.Fatalf("%x decodes to %+v, which is not encoded: %v", body, m, err)
	}
	back, names, err := pb.Decode(once)
	if err != nil {
		tb.Fatalf("%x decodes to %+v, which is not decoded again: %v", body, m, err)
	}
	twice, err := pb.Append(nil, back, names)
	if err != nil || !bytes.Equal(once, twice) {
		tb.Fatalf("%x decodes to %+v, then to %+v, %v", body, m, back, err)
	}
}

// Damaged bytes must not panic, hang, or be taken for something that cannot be
// written back.
func TestDamagedBodies(t *testing.T) {
	for _, c := range codectest.Few(loadCaptured(t), 1) {
		codectest.EachDamage(c.Body, func(damaged []byte) { check(t, damaged) })
	}
}

// A length or count in damaged bytes must not make the decoder reserve memory
// that the bytes do not warrant.
func TestDamagedBodiesCostLittleMemory(t *testing.T) {
	const perByte, flat = 32, 2048 // bytes of memory that one decoding may use
	for _, c := range codectest.Few(loadCaptured(t), 1) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		runs := codectest.EachDamage(c.Body, func(damaged []byte) { _, _, _ = pb.Decode(damaged) })
		runtime.ReadMemStats(&after)
		limit := runs * (flat + perByte*len(c.Body))
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(limit), c.Name)
	}
}

func FuzzPB(f *testing.F) {
	for _, c := range codectest.Few(loadCaptured(f), 1) {
		f.Add(c.Body)
	}
	for _, m := range filled() {
		body, err := pb.Append(nil, m, codec.IO)
		require.NoError(f, err)
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body []byte) { check(t, body) })
}
