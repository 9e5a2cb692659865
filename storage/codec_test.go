package storage

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/qiao-tx/qiao/protocol"
)

func drawGlobal(t *rapid.T) Global {
	return Global{
		ID:            rapid.Int64().Draw(t, "id"),
		Status:        protocol.GlobalStatus(rapid.Int8().Draw(t, "status")),
		ApplicationID: rapid.String().Draw(t, "application"),
		Group:         rapid.String().Draw(t, "group"),
		Name:          rapid.String().Draw(t, "name"),
		BeganAt:       rapid.Int64().Draw(t, "began"),
		TimeoutMillis: rapid.Int32().Draw(t, "timeout"),
		DueAt:         rapid.Int64().Draw(t, "due"),
		Attempts:      rapid.Int32().Draw(t, "attempts"),
		Evidence:      rapid.String().Draw(t, "evidence"),
	}
}

func drawBranch(t *rapid.T) Branch {
	return Branch{
		ID:              rapid.Int64().Draw(t, "id"),
		Type:            protocol.BranchType(rapid.Int8().Draw(t, "type")),
		Status:          protocol.BranchStatus(rapid.Int8().Draw(t, "status")),
		ResourceID:      rapid.String().Draw(t, "resource"),
		ClientID:        rapid.String().Draw(t, "client"),
		LockKey:         rapid.String().Draw(t, "lock key"),
		Locked:          rapid.Bool().Draw(t, "locked"),
		ApplicationData: rapid.String().Draw(t, "data"),
		RegisteredAt:    rapid.Int64().Draw(t, "registered"),
		RequestKey:      rapid.String().Draw(t, "request"),
	}
}

// drawList draws a list that is nil when empty, as decoding makes it.
func drawList[T any](t *rapid.T, what string, draw func(*rapid.T) T) []T {
	list := rapid.SliceOfN(rapid.Custom(draw), 0, 4).Draw(t, what)
	if len(list) == 0 {
		return nil
	}
	return list
}

func drawBatch(t *rapid.T) *Batch {
	b := &Batch{
		XID:       rapid.String().Draw(t, "xid"),
		Revision:  rapid.Uint64().Draw(t, "revision"),
		At:        rapid.Int64().Draw(t, "at"),
		Add:       drawList(t, "add", drawBranch),
		UnlockAll: rapid.Bool().Draw(t, "unlock all"),
		Unlock:    drawList(t, "unlock", func(t *rapid.T) int64 { return rapid.Int64().Draw(t, "id") }),
		Remove:    drawList(t, "remove", func(t *rapid.T) int64 { return rapid.Int64().Draw(t, "id") }),
	}
	b.Change = drawList(t, "change", func(t *rapid.T) BranchChange {
		c := BranchChange{ID: rapid.Int64().Draw(t, "id"), Status: protocol.BranchStatus(rapid.Int8().Draw(t, "status"))}
		if rapid.Bool().Draw(t, "has data") {
			data := rapid.String().Draw(t, "data")
			c.ApplicationData = &data
		}
		return c
	})
	if rapid.Bool().Draw(t, "has global") {
		g := drawGlobal(t)
		b.Global = &g
	}
	if rapid.Bool().Draw(t, "has finish") {
		b.Finish = &Tombstone{
			Outcome:   protocol.GlobalStatus(rapid.Int8().Draw(t, "outcome")),
			ExpiresAt: rapid.Int64().Draw(t, "expires"),
		}
	}
	b.Resume = rapid.Uint64().Draw(t, "resume")
	if rapid.Bool().Draw(t, "is note") {
		b.Note = &Note{rapid.String().Draw(t, "kind"), rapid.String().Draw(t, "key"), rapid.String().Draw(t, "value")}
	}
	return b
}

func drawState(t *rapid.T) *State {
	return &State{
		XID:      rapid.String().Draw(t, "xid"),
		Revision: rapid.Uint64().Draw(t, "revision"),
		Global:   drawGlobal(t),
		Branches: drawList(t, "branches", drawBranch),
		Outcome:  protocol.GlobalStatus(rapid.Int8().Draw(t, "outcome")),
	}
}

// Every value survives; every truncation and every extension is refused.
func TestCodecRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		batch := drawBatch(t)
		data := AppendBatch([]byte("prefix"), batch)[len("prefix"):]
		got, err := DecodeBatch(data)
		require.NoError(t, err)
		require.Equal(t, batch, got)
		for n := range data {
			_, err := DecodeBatch(data[:n])
			require.ErrorIs(t, err, ErrBadEncoding, "%d of %d bytes", n, len(data))
		}
		_, err = DecodeBatch(append(data, 0))
		require.ErrorIs(t, err, ErrBadEncoding)

		state := drawState(t)
		data = AppendState([]byte("prefix"), state)[len("prefix"):]
		gotState, err := DecodeState(data)
		require.NoError(t, err)
		require.Equal(t, state, gotState)
		for n := range data {
			_, err := DecodeState(data[:n])
			require.ErrorIs(t, err, ErrBadEncoding, "%d of %d bytes", n, len(data))
		}
	})
}

func fullBatch() *Batch {
	data := `{"a":1}`
	return &Batch{
		XID: "127.0.0.1:8091:7", Revision: 3, At: 1_700_000_000_000,
		Global: &Global{
			ID: 7, Status: protocol.StatusCommitting, ApplicationID: "app", Group: "g", Name: "order",
			BeganAt: 1_699_999_999_000, TimeoutMillis: 60_000, DueAt: 1_700_000_001_000, Attempts: 2, Evidence: "why",
		},
		Add: []Branch{{
			ID: 8, Type: protocol.TypeTCC, Status: protocol.BranchRegistered, ResourceID: "r", ClientID: "app:ip:1",
			LockKey: "t:1", Locked: true, ApplicationData: "{}", RegisteredAt: 1_700_000_000_000, RequestKey: "k",
		}},
		Change:    []BranchChange{{ID: 8, Status: protocol.BranchPhaseOneDone, ApplicationData: &data}, {ID: 8}},
		Unlock:    []int64{8},
		UnlockAll: true,
		Remove:    []int64{8},
		Finish:    &Tombstone{Outcome: protocol.StatusCommitted, ExpiresAt: 1_700_000_180_000},
	}
}

// Logs outlive programs: these bytes were written once and must be read for ever.
func TestBatchGoldenBytes(t *testing.T) {
	const golden = "010f103132372e302e302e313a383039313a370380a0abfef9620e02036170700167056f7264" +
		"6572b090abfef962c0a907d0afabfef962040377687901100101010172086170703a69703a31" +
		"03743a31027b7d80a0abfef962016b02100201077b2261223a317d1000000110011009c09cc1" +
		"fef962"
	data := AppendBatch(nil, fullBatch())
	assert.Equal(t, golden, hex.EncodeToString(data))
}

func TestDecodeRefusesOtherVersions(t *testing.T) {
	data := AppendBatch(nil, fullBatch())
	data[0] = 2
	_, err := DecodeBatch(data)
	require.ErrorIs(t, err, ErrBadEncoding)
	assert.ErrorContains(t, err, "version 2")
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(AppendBatch(nil, fullBatch()))
	f.Add(AppendBatch(nil, &Batch{XID: "a:1:2"}))
	f.Add(AppendBatch(nil, &Batch{Resume: 7, Note: &Note{Kind: "k", Key: "a", Value: "b"}}))
	f.Add([]byte{1, 8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := DecodeBatch(data)
		if err != nil {
			require.ErrorIs(t, err, ErrBadEncoding)
			return
		}
		again, err := DecodeBatch(AppendBatch(nil, b))
		require.NoError(t, err)
		require.Equal(t, b, again)
	})
}

func FuzzDecodeState(f *testing.F) {
	s, err := State{}.Apply(&Batch{XID: "a:1:2", Global: fullBatch().Global, Add: fullBatch().Add})
	require.NoError(f, err)
	f.Add(AppendState(nil, &s))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeState(data)
		if err != nil {
			require.ErrorIs(t, err, ErrBadEncoding)
			return
		}
		require.Equal(t, data, AppendState(nil, s), "one value, two encodings")
	})
}

func BenchmarkAppendBatch(b *testing.B) {
	batch := fullBatch()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendBatch(dst[:0], batch)
	}
}

func BenchmarkDecodeBatch(b *testing.B) {
	data := AppendBatch(nil, fullBatch())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeBatch(data); err != nil {
			b.Fatal(err)
		}
	}
}
