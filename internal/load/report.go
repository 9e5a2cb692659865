package load

import (
	"fmt"
	"io"
	"time"
)

// Report is what a run showed. Server figures are nil when the target does not
// publish them.
type Report struct {
	Mode        Mode `json:"mode"`
	Branches    int  `json:"branches"`
	Concurrency int  `json:"concurrency"`
	Connections int  `json:"connections"`
	// Committed transactions, all of those that TxPerS counts.
	Committed uint64  `json:"committed_total"`
	TxPerS    float64 `json:"tx_per_s"`
	// Latency of a committed transaction, from begin to the answer to commit.
	P50MS float64 `json:"p50_ms"`
	P99MS float64 `json:"p99_ms"`
	// Errors are requests without a proper answer; a lock conflict is none.
	Errors    uint64 `json:"errors"`
	Conflicts uint64 `json:"conflicts"`
	// FirstError is the text of the first of the Errors.
	FirstError string `json:"first_error,omitempty"`
	// Registered branches, and the phase-two orders that came for them.
	Registered uint64 `json:"registered_total"`
	Callbacks  uint64 `json:"callbacks_total"`
	// DrainS is how long orders kept coming after the last commit was answered.
	DrainS               float64  `json:"drain_s"`
	BatchesPerTx         *float64 `json:"batches_per_tx"`
	ServerCPUSPer1000Tx  *float64 `json:"server_cpu_s_per_1000tx"`
	ServerRSSMB          *float64 `json:"server_rss_mb"`
	serverFiguresMissing error
}

// ServerFiguresMissing says why the report has no figures of the server; nil
// when it has.
func (r *Report) ServerFiguresMissing() error { return r.serverFiguresMissing }

func (r *Report) setServerFigures(before, after serverFigures) {
	r.ServerRSSMB = new(after.rssBytes / (1 << 20))
	if r.Committed > 0 {
		r.BatchesPerTx = new((after.batches - before.batches) / float64(r.Committed))
		r.ServerCPUSPer1000Tx = new((after.cpuSeconds - before.cpuSeconds) / float64(r.Committed) * 1000)
	}
}

// WriteTo prints the report for people.
func (r *Report) WriteTo(w io.Writer) (int64, error) {
	figure := func(p *float64, format string) string {
		if p == nil {
			return "not known"
		}
		return fmt.Sprintf(format, *p)
	}
	firstError := ""
	if r.FirstError != "" {
		firstError = "\n  the first error: " + r.FirstError
	}
	n, err := fmt.Fprintf(w, `
mode %s, %d branches, %d callers on %d connections
  %.0f tx/s, p50 %.2f ms, p99 %.2f ms
  %d committed, %d lock conflicts, %d errors%s
  %d branches registered, %d phase-two orders, drained in %.2f s
  server: %s batches a transaction, %s CPU s per 1,000 transactions, %s MB resident
`,
		r.Mode, r.Branches, r.Concurrency, r.Connections,
		r.TxPerS, r.P50MS, r.P99MS,
		r.Committed, r.Conflicts, r.Errors, firstError,
		r.Registered, r.Callbacks, r.DrainS,
		figure(r.BatchesPerTx, "%.2f"), figure(r.ServerCPUSPer1000Tx, "%.4f"), figure(r.ServerRSSMB, "%.0f"))
	return int64(n), err
}

// Progress is the state of a run under way.
type Progress struct {
	Elapsed   time.Duration
	Committed uint64
	// Rate is of committed transactions a second since the progress before.
	Rate      float64
	Conflicts uint64
	Errors    uint64
	// Backlog is how many branches of decided transactions wait for their order.
	Backlog int64
	// Draining: the load is over.
	Draining bool
}

// String is one line.
func (p Progress) String() string {
	doing := fmt.Sprintf("%.0f tx/s", p.Rate)
	if p.Draining {
		doing = "draining"
	}
	return fmt.Sprintf("%4.0f s  %s, %d committed, %d conflicts, %d errors, phase-two backlog %d",
		p.Elapsed.Seconds(), doing, p.Committed, p.Conflicts, p.Errors, p.Backlog)
}
