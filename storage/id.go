package storage

// SequenceBits is how many low bits of a transaction's or branch's id count up;
// the bits above name the node that made it. The layout is Seata's
// (org.apache.seata.common.util.IdWorker).
const SequenceBits = 53

// LaterID returns that of two ids with the higher sequence, whichever node made
// it. A node that starts above the latest id of all nodes is above its own.
func LaterID(a, b int64) int64 {
	const sequence = 1<<SequenceBits - 1
	if b&sequence > a&sequence {
		return b
	}
	return a
}
