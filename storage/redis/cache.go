package redis

import "sync"

// maxCached bounds the transactions whose state is remembered.
const maxCached = 1 << 16

// cache remembers the transactions that this node has read or written. What it says is
// checked by the mark when a Batch is applied.
type cache struct {
	mu      sync.Mutex
	records map[string]*record
	// lossy: Redis became another process, which may have lost what was acknowledged.
	// A revision may then come a second time with another content, so that a Batch
	// must be decided on what was read since.
	lossy bool
}

func newCache() *cache { return &cache{records: make(map[string]*record)} }

func (c *cache) get(x string) (r *record, lossy bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.records[x], c.lossy
}

// put remembers r, in place of any other one when there are too many.
func (c *cache) put(r *record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.records) >= maxCached {
		for x := range c.records { // the map chooses
			delete(c.records, x)
			break
		}
	}
	c.records[r.XID] = r
}

func (c *cache) drop(x string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.records, x)
}

// doubt forgets everything, and from now on takes nothing that was decided before.
func (c *cache) doubt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.records)
	c.lossy = true
}
