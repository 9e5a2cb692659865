package native_test

import (
	"encoding/binary"
	"errors"
	"reflect"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/codectest"
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

// Damaged bytes must not panic, hang, or be taken for something that cannot be
// written back.
func TestDamagedBodies(t *testing.T) {
	for _, c := range loadCaptured(t) {
		codectest.EachDamage(c.Body, func(damaged []byte) { check(t, damaged) })
	}
}

// A length or count in damaged bytes must not make the decoder reserve memory
// that the bytes do not warrant.
func TestDamagedBodiesCostLittleMemory(t *testing.T) {
	const perByte, flat = 32, 2048 // bytes of memory that one decoding may use
	for _, c := range loadCaptured(t) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		runs := codectest.EachDamage(c.Body, func(damaged []byte) { _, _ = native.Decode(damaged) })
		runtime.ReadMemStats(&after)
		limit := runs * (flat + perByte*len(c.Body))
		require.LessOrEqual(t, after.TotalAlloc-before.TotalAlloc, uint64(limit), c.Name)
	}
}

// A merged message with whatever is in it: the bytes within get past the
// length, and a decoded list is decoded again to itself.
func FuzzMerged(f *testing.F) {
	merged := map[string]bool{"MergedWarpMessage": true, "MergeResultMessage": true, "BatchResultMessage": true}
	seen := map[string]int{}
	for _, c := range loadCaptured(f) {
		if class := c.Decoded["@class"].(string); merged[class] && seen[class] < 4 {
			seen[class]++
			f.Add(c.Body[1], int16(binary.BigEndian.Uint16(c.Body[6:])), c.Body[8:])
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, count int16, inner []byte) {
		// In this order the type codes of the seeds pick themselves.
		kinds := []protocol.TypeCode{protocol.TypeMergedResult, protocol.TypeBatchResult, protocol.TypeMerged}
		body := binary.BigEndian.AppendUint16(nil, uint16(kinds[int(kind)%len(kinds)]))
		body = binary.BigEndian.AppendUint32(body, uint32(2+len(inner)))
		body = binary.BigEndian.AppendUint16(body, uint16(count))
		check(t, append(body, inner...))
	})
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
