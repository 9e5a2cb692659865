package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/protocol"
)

// ErrBadEncoding reports bytes that AppendBatch or AppendState cannot have
// written.
var ErrBadEncoding = errors.New("bad encoding")

// codecVersion is the first byte of every encoded Batch and State.
const codecVersion = 1

// Presence bits of an encoded Batch, and of its parts.
const (
	batchHasGlobal = 1 << iota
	batchUnlocksAll
	batchHasFinish
	batchHasBranches // Add, Change, Unlock or Remove follow
	batchResumes
	batchIsNote
)

// AppendBatch appends the encoding of b to dst. Numbers are varints, texts have
// their length before them.
func AppendBatch(dst []byte, b *Batch) []byte {
	var flags byte
	if b.Global != nil {
		flags |= batchHasGlobal
	}
	if b.UnlockAll {
		flags |= batchUnlocksAll
	}
	if b.Finish != nil {
		flags |= batchHasFinish
	}
	if len(b.Add)+len(b.Change)+len(b.Unlock)+len(b.Remove) > 0 {
		flags |= batchHasBranches
	}
	if b.Resume > 0 {
		flags |= batchResumes
	}
	if b.Note != nil {
		flags |= batchIsNote
	}
	dst = append(dst, codecVersion, flags)
	dst = appendText(dst, b.XID)
	dst = binary.AppendUvarint(dst, b.Revision)
	dst = binary.AppendVarint(dst, b.At)
	if b.Global != nil {
		dst = appendGlobal(dst, b.Global)
	}
	if flags&batchHasBranches != 0 {
		dst = appendBranches(dst, b.Add)
		dst = appendChanges(dst, b.Change)
		dst = appendIDs(dst, b.Unlock)
		dst = appendIDs(dst, b.Remove)
	}
	if b.Finish != nil {
		dst = append(dst, byte(b.Finish.Outcome))
		dst = binary.AppendVarint(dst, b.Finish.ExpiresAt)
	}
	if b.Resume > 0 {
		dst = binary.AppendUvarint(dst, b.Resume)
	}
	if b.Note != nil {
		dst = appendText(appendText(appendText(dst, b.Note.Kind), b.Note.Key), b.Note.Value)
	}
	return dst
}

// DecodeBatch decodes what AppendBatch wrote: all of data. The result shares no
// memory with data. The error wraps ErrBadEncoding.
func DecodeBatch(data []byte) (*Batch, error) {
	d := decoder{text: string(data)}
	d.version()
	flags := d.byte()
	if flags >= batchIsNote<<1 {
		d.fail("unknown flags")
	}
	b := &Batch{XID: d.string(), Revision: d.uvarint(), At: d.varint(), UnlockAll: flags&batchUnlocksAll != 0}
	if flags&batchHasGlobal != 0 {
		b.Global = new(Global)
		d.global(b.Global)
	}
	if flags&batchHasBranches != 0 {
		b.Add = d.branches()
		b.Change = d.changes()
		b.Unlock = d.ids()
		b.Remove = d.ids()
	}
	if flags&batchHasFinish != 0 {
		b.Finish = &Tombstone{Outcome: protocol.GlobalStatus(d.byte()), ExpiresAt: d.varint()}
	}
	if flags&batchResumes != 0 {
		if b.Resume = d.uvarint(); b.Resume == 0 {
			d.fail("resumed at no revision")
		}
	}
	if flags&batchIsNote != 0 {
		b.Note = &Note{Kind: d.string(), Key: d.string(), Value: d.string()}
	}
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("batch: %w", err)
	}
	return b, nil
}

// AppendState appends the encoding of s to dst.
func AppendState(dst []byte, s *State) []byte {
	dst = append(dst, codecVersion, byte(s.Outcome))
	dst = appendText(dst, s.XID)
	dst = binary.AppendUvarint(dst, s.Revision)
	dst = appendGlobal(dst, &s.Global)
	return appendBranches(dst, s.Branches)
}

// DecodeState decodes what AppendState wrote: all of data. The result shares no
// memory with data. The error wraps ErrBadEncoding.
func DecodeState(data []byte) (*State, error) {
	d := decoder{text: string(data)}
	d.version()
	s := &State{Outcome: protocol.GlobalStatus(d.byte()), XID: d.string(), Revision: d.uvarint()}
	d.global(&s.Global)
	s.Branches = d.branches()
	if err := d.end(); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	return s, nil
}

func appendText(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func appendGlobal(dst []byte, g *Global) []byte {
	dst = binary.AppendVarint(dst, g.ID)
	dst = append(dst, byte(g.Status))
	dst = appendText(dst, g.ApplicationID)
	dst = appendText(dst, g.Group)
	dst = appendText(dst, g.Name)
	dst = binary.AppendVarint(dst, g.BeganAt)
	dst = binary.AppendVarint(dst, int64(g.TimeoutMillis))
	dst = binary.AppendVarint(dst, g.DueAt)
	dst = binary.AppendVarint(dst, int64(g.Attempts))
	return appendText(dst, g.Evidence)
}

func (d *decoder) global(g *Global) {
	g.ID = d.varint()
	g.Status = protocol.GlobalStatus(d.byte())
	g.ApplicationID = d.string()
	g.Group = d.string()
	g.Name = d.string()
	g.BeganAt = d.varint()
	g.TimeoutMillis = d.int32()
	g.DueAt = d.varint()
	g.Attempts = d.int32()
	g.Evidence = d.string()
}

func appendBranches(dst []byte, branches []Branch) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(branches)))
	for i := range branches {
		b := &branches[i]
		dst = binary.AppendVarint(dst, b.ID)
		dst = append(dst, byte(b.Type), byte(b.Status), boolByte(b.Locked))
		dst = appendText(dst, b.ResourceID)
		dst = appendText(dst, b.ClientID)
		dst = appendText(dst, b.LockKey)
		dst = appendText(dst, b.ApplicationData)
		dst = binary.AppendVarint(dst, b.RegisteredAt)
		dst = appendText(dst, b.RequestKey)
	}
	return dst
}

// Least sizes of list elements: a count that the rest of the data cannot hold
// is refused before anything is allocated for it.
const (
	minBranchBytes = 10
	minChangeBytes = 3
)

func (d *decoder) branches() []Branch {
	n := d.count(minBranchBytes)
	if n == 0 {
		return nil
	}
	branches := make([]Branch, n)
	for i := range branches {
		b := &branches[i]
		b.ID = d.varint()
		b.Type = protocol.BranchType(d.byte())
		b.Status = protocol.BranchStatus(d.byte())
		b.Locked = d.bool()
		b.ResourceID = d.string()
		b.ClientID = d.string()
		b.LockKey = d.string()
		b.ApplicationData = d.string()
		b.RegisteredAt = d.varint()
		b.RequestKey = d.string()
	}
	return branches
}

func appendChanges(dst []byte, changes []BranchChange) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(changes)))
	for i := range changes {
		c := &changes[i]
		dst = binary.AppendVarint(dst, c.ID)
		dst = append(dst, byte(c.Status), boolByte(c.ApplicationData != nil))
		if c.ApplicationData != nil {
			dst = appendText(dst, *c.ApplicationData)
		}
	}
	return dst
}

func (d *decoder) changes() []BranchChange {
	n := d.count(minChangeBytes)
	if n == 0 {
		return nil
	}
	changes := make([]BranchChange, n)
	for i := range changes {
		c := &changes[i]
		c.ID = d.varint()
		c.Status = protocol.BranchStatus(d.byte())
		if d.bool() {
			data := d.string()
			c.ApplicationData = &data
		}
	}
	return changes
}

func appendIDs(dst []byte, ids []int64) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(ids)))
	for _, id := range ids {
		dst = binary.AppendVarint(dst, id)
	}
	return dst
}

func (d *decoder) ids() []int64 {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	ids := make([]int64, n)
	for i := range ids {
		ids[i] = d.varint()
	}
	return ids
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
