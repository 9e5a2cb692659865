package raft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/storage"
)

// An entry of the log is a version byte and batches, each after its length. In the
// second version the term comes first in which alone the batches may be applied:
// an entry that a node proposes after it has lost the lead and won it again has
// what an earlier leadership decided.
const (
	entryVersion     = 1
	termEntryVersion = 2
	// maxEntryBatches and maxEntryBytes end an entry. One batch alone may be
	// larger.
	maxEntryBatches = 2048
	maxEntryBytes   = 1 << 20
	// maxBatchBytes caps a batch: the log takes no entry over 64 MiB, and would
	// count the attempt as a storage error.
	maxBatchBytes = 32 << 20
)

var errBadEntry = errors.New("bad log entry")

// appendEntry appends an entry for a term, or with 0 for any.
func appendEntry(dst []byte, term uint64, requests []*request) []byte {
	if term == 0 {
		dst = append(dst, entryVersion)
	} else {
		dst = binary.AppendUvarint(append(dst, termEntryVersion), term)
	}
	for _, r := range requests {
		dst = binary.AppendUvarint(dst, uint64(len(r.encoded)))
		dst = append(dst, r.encoded...)
	}
	return dst
}

// entryTerm returns the term that an entry is for, 0 for any, and its batches.
func entryTerm(data []byte) (term uint64, batches []byte, err error) {
	switch {
	case len(data) > 0 && data[0] == entryVersion:
		return 0, data[1:], nil
	case len(data) > 0 && data[0] == termEntryVersion:
		term, n := binary.Uvarint(data[1:])
		if n <= 0 || term == 0 {
			return 0, nil, fmt.Errorf("%w: it names no term", errBadEntry)
		}
		return term, data[1+n:], nil
	default:
		return 0, nil, fmt.Errorf("%w: want version %d or %d: written by another version of the program", errBadEntry, entryVersion, termEntryVersion)
	}
}

// decodeBatches appends the batches of an entry to dst. They share no memory with
// data.
func decodeBatches(dst []*storage.Batch, data []byte) ([]*storage.Batch, error) {
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		if n <= 0 || size > uint64(len(data)-n) {
			return dst, fmt.Errorf("%w: a batch is longer than the entry", errBadEntry)
		}
		batch, err := storage.DecodeBatch(data[n : n+int(size)])
		if err != nil {
			return dst, fmt.Errorf("%w: %w", errBadEntry, err)
		}
		dst = append(dst, batch)
		data = data[n+int(size):]
	}
	return dst, nil
}
