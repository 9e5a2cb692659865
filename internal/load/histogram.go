package load

import (
	"math/bits"
	"time"
)

// histogram counts durations in buckets whose width is under 1 % of their
// value, from 1 µs to over an hour.
type histogram struct {
	buckets [(64 - subBits) << subBits]uint32
	total   uint64
}

// Each power of two is divided into 1<<subBits buckets.
const subBits = 7

// bucketOf maps microseconds to a bucket: small values exactly, others by
// their leading subBits+1 bits.
func bucketOf(us uint64) int {
	shift := max(0, bits.Len64(us)-subBits-1)
	return shift<<subBits + int(us>>shift)
}

// valueOf is the middle of a bucket, in microseconds.
func valueOf(bucket int) float64 {
	if bucket < 2<<subBits {
		return float64(bucket)
	}
	shift := bucket>>subBits - 1
	low := uint64(bucket-shift<<subBits) << shift
	return float64(low) + float64(uint64(1)<<shift)/2
}

func (h *histogram) add(d time.Duration) {
	h.buckets[bucketOf(uint64(max(0, d.Microseconds())))]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.buckets {
		h.buckets[i] += n
	}
	h.total += other.total
}

// quantileMS is the q-quantile in milliseconds; 0 when nothing was counted.
func (h *histogram) quantileMS(q float64) float64 {
	rank := uint64(q * float64(h.total))
	var seen uint64
	for i, n := range h.buckets {
		if seen += uint64(n); seen > rank {
			return valueOf(i) / 1000
		}
	}
	return 0
}
