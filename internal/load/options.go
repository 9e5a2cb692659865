package load

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/protocol"
)

// Mode is the kind of branches.
type Mode string

// Modes.
const (
	// AT branches each lock one row; the commit is answered before phase two.
	AT Mode = "at"
	// TCC branches have no locks; the commit is answered after phase two.
	TCC Mode = "tcc"
	// Empty transactions have no branches: begin and commit alone.
	Empty Mode = "empty"
)

// Options says what load to make. The zero value of a field that has a default
// means the default.
type Options struct {
	// Target is the coordinator's host:port, or those of several that share their
	// transactions, with commas between: connections go to each in turn.
	Target string
	// Metrics is the URL of the server's Prometheus metrics, or as many as there are
	// targets; default http://Target/metrics of each.
	Metrics string
	// Mode: default AT.
	Mode Mode
	// Branches of each transaction: default 2; ignored when Mode is Empty.
	Branches int
	// Concurrency is the number of callers, each with one transaction at a time:
	// default 64.
	Concurrency int
	// Connections that the callers share: default 4, or two for each target;
	// at most Concurrency.
	Connections int
	// Duration of the load, without the drain: default 10 s.
	Duration time.Duration
	// Conflict is the share of transactions, 0 to 1, whose first branch locks one
	// of a few hot rows. On a lock conflict the caller rolls back. AT only.
	Conflict float64
	// DrainTimeout bounds the wait for phase-two orders after the load: default 60 s.
	DrainTimeout time.Duration
}

// ErrOptions reports options that make no sense.
var ErrOptions = errors.New("options")

func (o Options) withDefaults() (Options, error) {
	set := func(p *int, value int) {
		if *p == 0 {
			*p = value
		}
	}
	if o.Mode == "" {
		o.Mode = AT
	}
	set(&o.Branches, 2)
	set(&o.Concurrency, 64)
	set(&o.Connections, min(max(4, 2*len(o.targets())), o.Concurrency))
	if o.Duration == 0 {
		o.Duration = 10 * time.Second
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = time.Minute
	}
	if o.Metrics == "" {
		var urls []string
		for _, target := range o.targets() {
			urls = append(urls, "http://"+target+"/metrics")
		}
		o.Metrics = strings.Join(urls, ",")
	}
	if o.Mode == Empty {
		o.Branches = 0
	}
	return o, o.check()
}

func (o Options) targets() []string { return strings.Split(o.Target, ",") }

func (o Options) check() error {
	for _, target := range o.targets() {
		if _, _, err := net.SplitHostPort(target); err != nil {
			return fmt.Errorf("%w: target %q: want host:port: %w", ErrOptions, target, err)
		}
	}
	switch o.Mode {
	case AT, TCC, Empty:
	default:
		return fmt.Errorf("%w: mode %q: want at, tcc or empty", ErrOptions, o.Mode)
	}
	for _, n := range []struct {
		name         string
		n, low, high int
	}{
		{"branches", o.Branches, 0, 1000},
		{"concurrency", o.Concurrency, 1, 100_000},
		{"connections", o.Connections, 1, o.Concurrency},
	} {
		if n.n < n.low || n.n > n.high {
			return fmt.Errorf("%w: %s %d: want %d to %d", ErrOptions, n.name, n.n, n.low, n.high)
		}
	}
	switch {
	case o.Duration < 0:
		return fmt.Errorf("%w: duration %s is negative", ErrOptions, o.Duration)
	case !(o.Conflict >= 0 && o.Conflict <= 1): // NaN too
		return fmt.Errorf("%w: conflict %g: want a share from 0 to 1", ErrOptions, o.Conflict)
	case o.Conflict > 0 && o.Mode != AT:
		return fmt.Errorf("%w: conflict needs mode at: branches of mode %s lock nothing", ErrOptions, o.Mode)
	}
	return nil
}

func (o Options) branchType() protocol.BranchType {
	if o.Mode == TCC {
		return protocol.TypeTCC
	}
	return protocol.TypeAT
}

// resourceID has the form that resources of the mode have in real programs.
func (o Options) resourceID() string {
	if o.Mode == TCC {
		return "benchAction"
	}
	return "jdbc:mysql://bench:3306/db"
}
