package sagalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/machine"
)

// Memory is a Store that forgets: for tests, and for sagas whose process may
// lose them.
type Memory struct {
	mu          sync.Mutex
	instances   map[string]*machine.Log
	order       []string
	definitions []Definition
}

// NewMemory returns an empty Memory.
func NewMemory() *Memory { return &Memory{instances: map[string]*machine.Log{}} }

// Write implements Store.
func (m *Memory) Write(_ context.Context, b *machine.Batch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := b.Insert; i != nil {
		if m.instances[i.ID] != nil || i.BusinessKey != "" && m.find(i.Tenant, i.BusinessKey) != nil {
			return fmt.Errorf("instance %s, business key %q: %w", i.ID, i.BusinessKey, ErrExists)
		}
		m.instances[i.ID] = &machine.Log{Instance: copyInstance(i)}
		m.order = append(m.order, i.ID)
	}
	if i := b.Restart; i != nil && (m.instances[i.ID] == nil || !m.instances[i.ID].Instance.Updated.Equal(b.Before)) {
		return fmt.Errorf("instance %s: %w", i.ID, ErrTaken)
	}
	if i := b.Finish; i != nil && b.Restart == nil && !m.instances[i.ID].Instance.Updated.Equal(i.Updated) {
		return fmt.Errorf("instance %s: %w", i.ID, ErrTaken)
	}
	for _, r := range b.Begun {
		log := m.instances[r.InstanceID]
		if slices.ContainsFunc(log.Rows, func(o *machine.Row) bool { return o.ID == r.ID }) {
			return fmt.Errorf("row %s of instance %s: %w", r.ID, r.InstanceID, ErrExists)
		}
	}
	for _, i := range []*machine.Instance{b.Guard, b.Note} {
		if i != nil && b.Restart == nil && !m.instances[i.ID].Instance.Updated.Equal(i.Updated) {
			return fmt.Errorf("instance %s: %w", i.ID, ErrTaken)
		}
	}
	for _, i := range []*machine.Instance{b.Restart, b.Note, b.Finish} {
		if i != nil {
			m.instances[i.ID].Instance = copyInstance(i)
		}
	}
	for _, list := range [][]*machine.Row{b.Begun, b.Again, b.Done} {
		for _, r := range list {
			m.put(r)
		}
	}
	return nil
}

func (m *Memory) put(r *machine.Row) {
	log := m.instances[r.InstanceID]
	own := *r
	own.Superseded, own.Compensation = false, ""
	for i, other := range log.Rows {
		if other.ID == r.ID {
			log.Rows[i] = &own
			return
		}
	}
	log.Rows = append(log.Rows, &own)
}

func copyInstance(i *machine.Instance) *machine.Instance {
	own := *i
	own.StartParams, own.EndParams = maps.Clone(i.StartParams), maps.Clone(i.EndParams)
	return &own
}

func copyLog(log *machine.Log) *machine.Log {
	own := &machine.Log{Instance: copyInstance(log.Instance)}
	for _, r := range log.Rows {
		row := *r
		own.Rows = append(own.Rows, &row)
	}
	return own
}

func (m *Memory) find(tenant, key string) *machine.Log {
	for _, log := range m.instances {
		if log.Instance.Tenant == tenant && log.Instance.BusinessKey == key {
			return log
		}
	}
	return nil
}

// Load implements Store.
func (m *Memory) Load(_ context.Context, id string) (*machine.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if log := m.instances[id]; log != nil {
		return copyLog(log), nil
	}
	return nil, fmt.Errorf("instance %s: %w", id, ErrNotFound)
}

// ByBusinessKey implements Store.
func (m *Memory) ByBusinessKey(_ context.Context, tenant, key string) (*machine.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if log := m.find(tenant, key); log != nil {
		return copyLog(log), nil
	}
	return nil, fmt.Errorf("business key %q: %w", key, ErrNotFound)
}

// Children implements Store.
func (m *Memory) Children(_ context.Context, parentID string) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var ids []string
	for _, id := range slices.Backward(m.order) {
		if m.instances[id].Instance.ParentID == parentID {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// Signals implements Store.
func (m *Memory) Signals(_ context.Context, ids []string) ([]*machine.Row, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rows []*machine.Row
	for _, id := range ids {
		if log := m.instances[id]; log != nil {
			for _, r := range log.Rows {
				if history.Kind(r.Type) == history.Signal && r.Status == machine.Running {
					own := *r
					rows = append(rows, &own)
				}
			}
		}
	}
	return rows, nil
}

// Interrupted implements Store: there may be some when one Memory serves two
// engines one after the other.
func (m *Memory) Interrupted(context.Context) ([]*machine.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var logs []*machine.Log
	for _, id := range m.order {
		if log := m.instances[id]; log.Instance.Live && log.Instance.ParentID == "" {
			logs = append(logs, copyLog(log))
		}
	}
	return logs, nil
}

// Adopt implements Store: there are no other nodes.
func (m *Memory) Adopt(context.Context) ([]*machine.Log, error) { return nil, nil }

// Define implements Store.
func (m *Memory) Define(ctx context.Context, d Definition) (Definition, error) {
	if old, err := m.Newest(ctx, d.Tenant, d.Name); err == nil && old.Version == d.Version && old.Content == d.Content {
		return old, nil
	}
	if d.Type == "" {
		d.Type = StateLanguage
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.definitions = append(m.definitions, d)
	return d, nil
}

// Newest implements Store.
func (m *Memory) Newest(_ context.Context, tenant, name string) (Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range slices.Backward(m.definitions) {
		if d.Tenant == tenant && d.Name == name {
			return d, nil
		}
	}
	return Definition{}, fmt.Errorf("state machine %q of tenant %s: %w", name, tenant, ErrNotFound)
}

// ByID implements Store.
func (m *Memory) ByID(_ context.Context, id string) (Definition, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, d := range m.definitions {
		if d.ID == id {
			return d, nil
		}
	}
	return Definition{}, fmt.Errorf("state machine %s: %w", id, ErrNotFound)
}

// Close implements Store.
func (m *Memory) Close() error { return nil }
