package tm

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// DegradeCheck is Seata's client.tm.degradeCheck: when transactions fail one
// after the other because no coordinator answers, Run calls its function without
// a global transaction, so that the service goes on; when a coordinator answers
// again, Run returns to global transactions by itself.
//
// What runs degraded is not atomic over several services and cannot be rolled
// back: use it only where being available counts for more, and never with TCC,
// whose Try refuses to run outside of a transaction. A Run inside a transaction
// that was begun earlier still joins it, and Begin never degrades.
type DegradeCheck struct {
	// AllowTimes is how many failures in a row degrade, and how many answers in
	// a row end it. Default 10, as in Seata.
	AllowTimes int
	// Period is the time between two probes, each a transaction without a branch
	// that is begun and committed. Default 2 s, as in Seata.
	Period time.Duration
}

func (d DegradeCheck) withDefaults() DegradeCheck {
	if d.AllowTimes <= 0 {
		d.AllowTimes = 10
	}
	if d.Period <= 0 {
		d.Period = 2 * time.Second
	}
	return d
}

// degrade counts failures and answers. A nil *degrade never degrades.
type degrade struct {
	check DegradeCheck
	log   *slog.Logger

	mu       sync.Mutex
	degraded bool
	// run counts what speaks for a change, in a row: failures, or answers once
	// degraded.
	run int
}

func newDegrade(check *DegradeCheck, log *slog.Logger) *degrade {
	if check == nil {
		return nil
	}
	return &degrade{check: check.withDefaults(), log: log}
}

func (d *degrade) active() bool {
	if d == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.degraded
}

// heard notes whether a coordinator answered a request that ctx bounded: any
// answer counts, a refusal too. A caller that gives up shows nothing.
func (d *degrade) heard(ctx context.Context, err error) {
	if d == nil || ctx.Err() != nil {
		return
	}
	answered := !errors.Is(err, ErrUnavailable)
	d.mu.Lock()
	defer d.mu.Unlock()
	if answered != d.degraded {
		d.run = 0
		return
	}
	if d.run++; d.run < d.check.AllowTimes {
		return
	}
	d.run, d.degraded = 0, !d.degraded
	if d.degraded {
		d.log.Warn("no coordinator answers: from now on Run works WITHOUT global transactions", "failures", d.check.AllowTimes)
	} else {
		d.log.Warn("a coordinator answers again: Run works with global transactions", "answers", d.check.AllowTimes)
	}
}

// Degraded tells whether Run works without global transactions at the moment.
func (m *Manager) Degraded() bool { return m.degrade.active() }

// Probe asks the coordinator again and again, as DegradeCheck says, until ctx
// ends. client calls it; without a DegradeCheck it returns at once.
func (m *Manager) Probe(ctx context.Context) {
	if m.degrade == nil {
		return
	}
	ticker := time.NewTicker(m.degrade.check.Period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		m.degrade.heard(ctx, m.probe(ctx))
	}
}

func (m *Manager) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.degrade.check.Period)
	defer cancel()
	x, err := m.coordinator.Begin(ctx, "degradeCheck", DefaultTimeout)
	if err == nil {
		_, err = m.coordinator.Commit(ctx, x)
	}
	return err
}
