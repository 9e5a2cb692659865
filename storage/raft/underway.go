package raft

import (
	"sync"

	"github.com/qiao-tx/qiao/storage"
)

// underWay is the entry that the writer has proposed. The state machine of the
// process that made it need not decode what was encoded a moment ago.
type underWay struct {
	mu       sync.Mutex
	data     []byte
	requests []*request
}

func (u *underWay) begin(data []byte, requests []*request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.data, u.requests = data, requests
}

func (u *underWay) end() { u.begin(nil, nil) }

// batches appends the batches of the entry to dst if data is the very memory
// that was proposed, and not only equal to it.
func (u *underWay) batches(dst []*storage.Batch, data []byte) ([]*storage.Batch, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(data) == 0 || len(data) != len(u.data) || &data[0] != &u.data[0] {
		return dst, false
	}
	for _, r := range u.requests {
		dst = append(dst, r.batch)
	}
	return dst, true
}
