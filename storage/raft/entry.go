package raft

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/qiao-tx/qiao/storage"
)

// An entry of the log is a version byte and batches, each after its length.
const (
	entryVersion = 1
	// maxEntryBatches and maxEntryBytes end an entry. One batch alone may be
	// larger.
	maxEntryBatches = 2048
	maxEntryBytes   = 1 << 20
	// maxBatchBytes caps a batch: the log takes no entry over 64 MiB, and would
	// count the attempt as a storage error.
	maxBatchBytes = 32 << 20
)

var errBadEntry = errors.New("bad log entry")

func appendEntry(dst []byte, requests []*request) []byte {
	dst = append(dst, entryVersion)
	for _, r := range requests {
		dst = binary.AppendUvarint(dst, uint64(len(r.encoded)))
		dst = append(dst, r.encoded...)
	}
	return dst
}

// decodeEntry appends the batches of an entry to dst. They share no memory with
// data.
func decodeEntry(dst []*storage.Batch, data []byte) ([]*storage.Batch, error) {
	if len(data) == 0 || data[0] != entryVersion {
		return dst, fmt.Errorf("%w: want version %d: written by another version of the program", errBadEntry, entryVersion)
	}
	for data = data[1:]; len(data) > 0; {
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
