package history

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/saga/machine"
)

// Kind is what a row of seata_state_inst stands for; its column type.
type Kind string

// The kinds. The first two are names of Seata's.
const (
	Step    Kind = "ServiceTask"
	Child   Kind = "SubStateMachine"
	Timer   Kind = "Timer"
	Wait    Kind = "SignalWait"
	Version Kind = "Version"
	// Signal is one that has come: not a place of the function.
	Signal Kind = "Signal"
)

var words = map[Kind]string{Step: "step", Child: "saga", Timer: "timer", Wait: "wait for signal"}

// Place is something that a function does.
type Place struct {
	Path string
	Kind Kind
	Name string
}

func (p Place) String() string {
	if p.Kind == "" {
		return "nothing more"
	}
	if p.Kind == Version {
		return fmt.Sprintf("version %s", p.Name)
	}
	return fmt.Sprintf("%s %q at %s", words[p.Kind], p.Name, p.Path)
}

// PlaceOf returns the place of a row.
func PlaceOf(r *machine.Row) Place { return Place{r.ServiceMethod, Kind(r.Type), r.Name} }

// Difference is where a function does not do what the log says. An empty Place is
// the end of the log, or a function that does not come there.
type Difference struct{ Logged, Found Place }

func (d *Difference) Error() string {
	if d.Found.Kind == "" {
		return fmt.Sprintf("the log has %v, the code does not come to it", d.Logged)
	}
	return fmt.Sprintf("the log has %v, the code comes to %v", d.Logged, d.Found)
}

// History is the log of an instance, and how far a replay has come in it. Not for
// concurrent use.
type History struct {
	rows []*machine.Row
	at   map[string]*machine.Row
	// ends are finished rows in the order of their end; the first were delivered.
	ends      []*machine.Row
	visited   map[*machine.Row]bool
	unvisited int
	undos     map[string]*machine.Row
	seq       int64
}

// Number gives a row that begins its place in the order of events. The tables' times
// would not do: they are local, and an hour comes twice when summer time ends.
func (h *History) Number(r *machine.Row) {
	h.seq++
	r.ServiceType = strconv.FormatInt(h.seq, 10)
}

// End gives a row its result, as JSON, and its place in the order of events.
func (h *History) End(r *machine.Row, now time.Time, value string) {
	h.seq++
	r.Ended = now.UTC().Truncate(time.Millisecond)
	r.Output = map[string]any{outEvent: h.seq, outTime: r.Ended.UnixMilli(), outValue: value}
}

// The keys of output_params.
const (
	outEvent = "event"
	outTime  = "at" // milliseconds since 1970
	outValue = "value"
)

// Value is the result of a row that has ended, as JSON.
func Value(r *machine.Row) string {
	out, _ := r.Output.(map[string]any)
	text, _ := out[outValue].(string)
	return text
}

// Ended is when a row ended.
func Ended(r *machine.Row) time.Time { return time.UnixMilli(number(r, outTime)).UTC() }

func number(r *machine.Row, key string) int64 {
	out, _ := r.Output.(map[string]any)
	n, _ := out[key].(int64)
	return n
}

// Begun is the place of a row's begin in the order of events.
func Begun(r *machine.Row) int64 {
	n, _ := strconv.ParseInt(r.ServiceType, 10, 64)
	return n
}

// New reads the rows of an instance.
func New(rows []*machine.Row) *History {
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b *machine.Row) int { return cmp.Compare(Begun(a), Begun(b)) })
	h := &History{at: map[string]*machine.Row{}, visited: map[*machine.Row]bool{}, undos: map[string]*machine.Row{}}
	for _, r := range rows {
		h.Add(r)
		if r.IsCompensation() || Kind(r.Type) == Signal {
			continue
		}
		h.unvisited++
		if r.Finished() {
			h.ends = append(h.ends, r)
		}
	}
	slices.SortFunc(h.ends, func(a, b *machine.Row) int { return cmp.Compare(number(a, outEvent), number(b, outEvent)) })
	return h
}

// Add takes a row in that was written now.
func (h *History) Add(r *machine.Row) {
	h.rows = append(h.rows, r)
	if Kind(r.Type) == Signal {
		return
	}
	h.seq = max(h.seq, Begun(r), number(r, outEvent))
	if r.IsCompensation() {
		h.undos[r.CompensatedFor] = r
		return
	}
	h.at[r.ServiceMethod] = r
}

// Rows are all rows, in the order of their start.
func (h *History) Rows() []*machine.Row { return h.rows }

// Began takes in a row of a new place, that was written now. One that has ended
// with that is the next of the results.
func (h *History) Began(r *machine.Row) {
	h.Add(r)
	h.visited[r] = true
	if r.Finished() {
		h.ends = append(h.ends, r)
	}
}

// Visit returns the row of a place that the function has come to, or nil if it is
// new. The error is a *Difference.
func (h *History) Visit(p Place) (*machine.Row, error) {
	r := h.at[p.Path]
	if r != nil && PlaceOf(r) != p {
		return nil, &Difference{PlaceOf(r), p}
	}
	if r == nil && h.Behind() {
		return nil, &Difference{PlaceOf(h.ahead()), p}
	}
	if r != nil && !h.visited[r] {
		h.visited[r] = true
		h.unvisited--
	}
	return r, nil
}

// Has tells whether the log has a row at a path.
func (h *History) Has(path string) bool { return h.at[path] != nil }

// Behind: the function has not yet done all that the log says.
func (h *History) Behind() bool { return len(h.ends) > 0 || h.unvisited > 0 }

// ahead returns the next row that a replay should come to.
func (h *History) ahead() *machine.Row {
	for _, r := range h.rows {
		if Kind(r.Type) != Signal && !r.IsCompensation() && !h.visited[r] {
			return r
		}
	}
	return h.ends[0]
}

// NextEnds takes the next of the results that the log has, or none. Versions that
// were written together come together: no result is left when the function does
// something new. The function must have come to the place, else the error is a
// *Difference.
func (h *History) NextEnds() ([]*machine.Row, error) {
	if len(h.ends) == 0 {
		return nil, nil
	}
	if r := h.ends[0]; !h.visited[r] {
		return nil, &Difference{PlaceOf(r), Place{}}
	}
	n := 1
	for Kind(h.ends[0].Type) == Version && n < len(h.ends) && Kind(h.ends[n].Type) == Version && h.visited[h.ends[n]] {
		n++
	}
	next := h.ends[:n]
	h.ends = h.ends[n:]
	return next, nil
}

// Complete fails with a *Difference if the log has a place that the function has
// not come to.
func (h *History) Complete() error {
	if !h.Behind() {
		return nil
	}
	return &Difference{PlaceOf(h.ahead()), Place{}}
}

// NextSignal returns the oldest signal of a name that was not delivered, or nil.
func NextSignal(rows []*machine.Row, name string) *machine.Row {
	for _, r := range rows {
		if Kind(r.Type) == Signal && r.Name == name && !r.Finished() {
			return r
		}
	}
	return nil
}

// ToUndo returns what is to be undone, the last first: steps and sagas that have
// succeeded or are in doubt, unless they were undone already.
func (h *History) ToUndo() []*machine.Row {
	var rows []*machine.Row
	for _, r := range slices.Backward(h.rows) {
		if r.IsCompensation() || Kind(r.Type) != Step && Kind(r.Type) != Child || r.Status == machine.Failed {
			continue
		}
		if u := h.undos[r.ID]; u == nil || u.Status != machine.Succeeded {
			rows = append(rows, r)
		}
	}
	return rows
}

// Visited tells whether the function has come to a row.
func (h *History) Visited(r *machine.Row) bool { return h.visited[r] }

// Undo returns the last row that undoes r, or nil.
func (h *History) Undo(r *machine.Row) *machine.Row { return h.undos[r.ID] }

// LastFailed returns the row whose failure came last, or nil: what Forward runs
// again.
func LastFailed(rows []*machine.Row) *machine.Row {
	var last *machine.Row
	for _, r := range rows {
		kind := Kind(r.Type)
		if r.IsCompensation() || kind != Step && kind != Child || r.Status == machine.Succeeded || !r.Finished() {
			continue
		}
		if last == nil || number(r, outEvent) > number(last, outEvent) {
			last = r
		}
	}
	return last
}
