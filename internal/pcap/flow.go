package pcap

import (
	"bytes"
	"errors"
	"io"
	"net/netip"
	"slices"
	"time"
)

// Limits of what may wait for a segment that is missing. Beyond them it counts
// as never captured.
const (
	maxWaiting      = 1024
	maxWaitingBytes = 16 << 20
)

// Data is the next bytes of one direction of a connection.
type Data struct {
	At       time.Time
	From, To netip.AddrPort
	// Start: a connection begins, with these bytes if there are any.
	Start bool
	// Gap: bytes before these were not captured, Missing of them if that is known.
	Gap     bool
	Missing int64
	// Bytes hold until the next Data.
	Bytes []byte
	// End: nothing follows.
	End bool
}

// Counts of what a file holds.
type Counts struct {
	// Packets in all, and those of them that are no TCP over IP, or fragments.
	Packets, Other int
}

// Read hands out the bytes of all TCP connections of a capture file, those of
// each direction in order. The error wraps ErrFormat or ErrLink, or is r's; what
// was read before it has been handed out.
func Read(r io.Reader, emit func(Data)) (Counts, error) {
	a := assembler{emit: emit, flows: make(map[direction]*flow)}
	defer a.finish()
	f, err := openFile(r)
	if err != nil {
		return a.counts, err
	}
	for {
		p, err := f.next()
		if errors.Is(err, io.EOF) {
			return a.counts, nil
		}
		if err != nil {
			return a.counts, err
		}
		a.counts.Packets++
		b, err := network(p.link, p.data)
		if err != nil {
			return a.counts, err
		}
		carried, ok := parseIP(b)
		if !ok {
			a.counts.Other++
			continue
		}
		s, ok := parseTCP(carried, p.at)
		if !ok {
			a.counts.Other++
			continue
		}
		a.add(s)
	}
}

type direction struct{ from, to netip.AddrPort }

// assembler puts segments in order.
type assembler struct {
	counts Counts
	emit   func(Data)
	flows  map[direction]*flow
	order  []*flow // as they began
}

// flow is one direction of a connection that is open.
type flow struct {
	direction
	at      time.Time // of the last segment
	started bool      // its next Data is not its first
	syn     bool      // its beginning was captured
	next    uint32    // the sequence number that is wanted
	cut     int64     // bytes before next that are missing
	gap     bool
	waiting []segment // later ones, by sequence number
	bytes   int       // of waiting
}

func (a *assembler) add(s segment) {
	key := direction{s.from, s.to}
	f := a.flows[key]
	if s.syn && (f == nil || f.next != s.seq+1 || f.started) {
		if f != nil {
			a.end(f)
		}
		f = a.begin(key, s.seq+1)
		f.syn = true
	}
	if s.syn {
		s.seq++ // it counts as a byte
	}
	if f == nil {
		if len(s.data) == 0 {
			return
		}
		f = a.begin(key, s.seq)
	}
	f.at = s.at
	switch ahead := int32(s.seq - f.next); {
	case ahead > 0 && len(s.data)+s.cut > 0:
		a.wait(f, s)
	case ahead <= 0:
		a.take(f, s)
		a.catchUp(f)
	}
	if s.rst || s.fin && int32(s.seq+uint32(len(s.data)+s.cut)-f.next) <= 0 {
		a.end(f)
	}
}

func (a *assembler) begin(key direction, next uint32) *flow {
	f := &flow{direction: key, next: next}
	a.flows[key] = f
	a.order = append(a.order, f)
	return f
}

// take hands out what is new in a segment that continues the flow.
func (a *assembler) take(f *flow, s segment) {
	old := int(f.next - s.seq)
	whole := len(s.data) + s.cut
	if old >= whole {
		return
	}
	if fresh := s.data[min(old, len(s.data)):]; len(fresh) > 0 {
		a.hand(f, fresh, false)
	}
	f.next = s.seq + uint32(whole)
	if missing := whole - max(old, len(s.data)); missing > 0 {
		f.gap, f.cut = true, f.cut+int64(missing)
	}
}

func (a *assembler) hand(f *flow, b []byte, end bool) {
	d := Data{At: f.at, From: f.from, To: f.to, Bytes: b, End: end}
	d.Start = f.syn && !f.started
	d.Gap, d.Missing = f.gap, f.cut
	if !f.syn && !f.started { // nobody knows what came before
		d.Gap = true
	}
	f.started, f.gap, f.cut = true, false, 0
	a.emit(d)
}

// wait keeps a segment that is ahead of the flow.
func (a *assembler) wait(f *flow, s segment) {
	s.data = bytes.Clone(s.data)
	at, _ := slices.BinarySearchFunc(f.waiting, s, func(a, b segment) int { return int(int32(a.seq - b.seq)) })
	f.waiting = slices.Insert(f.waiting, at, s)
	f.bytes += len(s.data)
	if len(f.waiting) > maxWaiting || f.bytes > maxWaitingBytes {
		a.skip(f)
		a.catchUp(f)
	}
}

// catchUp takes the waiting segments whose turn it is.
func (a *assembler) catchUp(f *flow) {
	for len(f.waiting) > 0 && int32(f.waiting[0].seq-f.next) <= 0 {
		s := f.waiting[0]
		f.waiting = f.waiting[1:]
		f.bytes -= len(s.data)
		a.take(f, s)
	}
}

// skip gives up the bytes before the first waiting segment.
func (a *assembler) skip(f *flow) {
	first := f.waiting[0].seq
	f.gap, f.cut = true, f.cut+int64(first-f.next)
	f.next = first
}

func (a *assembler) end(f *flow) {
	for len(f.waiting) > 0 {
		a.skip(f)
		a.catchUp(f)
	}
	a.hand(f, nil, true)
	delete(a.flows, f.direction)
	a.order = slices.DeleteFunc(a.order, func(other *flow) bool { return other == f })
}

// finish ends all flows, in the order in which they began.
func (a *assembler) finish() {
	for len(a.order) > 0 {
		a.end(a.order[0])
	}
}
