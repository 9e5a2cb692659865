package sagalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/saga/history"
	"github.com/qiao-tx/qiao/saga/javaerror"
	"github.com/qiao-tx/qiao/saga/machine"
)

// texts reads a column of strings.
func texts(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

const instanceColumns = "id, machine_id, tenant_id, parent_id, business_key, gmt_started, gmt_end, status, " +
	"compensation_status, is_running, gmt_updated, start_params, end_params, excep"

const rowColumns = "id, machine_inst_id, name, type, business_key, gmt_started, service_name, service_method, " +
	"service_type, is_for_update, status, input_params, output_params, excep, gmt_end, state_id_compensated_for, state_id_retried_for"

// Load implements Store.
func (s *SQL) Load(ctx context.Context, id string) (*machine.Log, error) {
	logs, err := s.loadAll(ctx, []string{id})
	if err == nil && len(logs) == 0 {
		err = fmt.Errorf("saga log: instance %s: %w", id, ErrNotFound)
	}
	if err != nil {
		return nil, err
	}
	return logs[0], nil
}

// ByBusinessKey implements Store.
func (s *SQL) ByBusinessKey(ctx context.Context, tenant, key string) (*machine.Log, error) {
	ids, err := texts(s.cfg.DB.QueryContext(ctx, s.q("SELECT id FROM {p}state_machine_inst WHERE business_key = ? AND tenant_id = ?"), key, tenant))
	if err == nil && len(ids) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("saga log: business key %q: %w", key, err)
	}
	return s.Load(ctx, ids[0])
}

// Children implements Store.
func (s *SQL) Children(ctx context.Context, parentID string) ([]string, error) {
	ids, err := texts(s.cfg.DB.QueryContext(ctx, s.q("SELECT id FROM {p}state_machine_inst WHERE parent_id = ? ORDER BY gmt_started DESC"), parentID))
	if err != nil {
		return nil, fmt.Errorf("saga log: instances of %s: %w", parentID, err)
	}
	return ids, nil
}

// Signals implements Store.
func (s *SQL) Signals(ctx context.Context, ids []string) ([]*machine.Row, error) {
	var all []*machine.Row
	for len(ids) > 0 {
		n := min(len(ids), loadChunk)
		in, args := list(ids[:n])
		err := s.each(ctx, "SELECT "+rowColumns+" FROM {p}state_inst WHERE machine_inst_id IN "+in+
			" AND type = ? AND status = ? ORDER BY gmt_started, id", append(args, string(history.Signal), string(machine.Running)),
			func(r *record) error { all = append(all, r.row()); return nil })
		if err != nil {
			return nil, fmt.Errorf("saga log: signals: %w", err)
		}
		ids = ids[n:]
	}
	return all, nil
}

// list is the right side of an IN, and its parameters.
func list(ids []string) (in string, args []any) {
	for _, id := range ids {
		args = append(args, id)
	}
	return "(" + strings.TrimSuffix(strings.Repeat("?, ", len(ids)), ", ") + ")", args
}

// loadChunk is how many instances one SELECT reads.
const loadChunk = 200

// loadAll reads instances with their rows.
func (s *SQL) loadAll(ctx context.Context, ids []string) ([]*machine.Log, error) {
	var all []*machine.Log
	for len(ids) > 0 {
		n := min(len(ids), loadChunk)
		chunk, err := s.loadChunk(ctx, ids[:n])
		if err != nil {
			return nil, fmt.Errorf("saga log: read instances: %w", err)
		}
		all, ids = append(all, chunk...), ids[n:]
	}
	return all, nil
}

func (s *SQL) loadChunk(ctx context.Context, ids []string) ([]*machine.Log, error) {
	in, args := list(ids)
	byID := make(map[string]*machine.Log, len(ids))
	var all []*machine.Log
	err := s.each(ctx, "SELECT "+instanceColumns+" FROM {p}state_machine_inst WHERE id IN "+in, args, func(r *record) error {
		log := &machine.Log{Instance: r.instance()}
		byID[log.Instance.ID] = log
		all = append(all, log)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.each(ctx, "SELECT "+rowColumns+" FROM {p}state_inst WHERE machine_inst_id IN "+in+" ORDER BY gmt_started, id", args, func(r *record) error {
		row := r.row()
		if log := byID[row.InstanceID]; log != nil {
			log.Rows = append(log.Rows, row)
		}
		return nil
	})
	return all, err
}

// each calls f for the rows of a query.
func (s *SQL) each(ctx context.Context, query string, args []any, f func(r *record) error) error {
	rows, err := s.cfg.DB.QueryContext(ctx, s.q(query), args...)
	if err != nil {
		return err
	}
	defer func() { _ = rows.Close() }()
	names, err := rows.Columns()
	if err != nil {
		return err
	}
	for rows.Next() {
		r := &record{columns: make(map[string]any, len(names)), location: s.cfg.Location}
		values, pointers := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			pointers[i] = &values[i]
		}
		if err := rows.Scan(pointers...); err != nil {
			return err
		}
		for i, name := range names {
			r.columns[strings.ToLower(name)] = values[i]
		}
		err := f(r)
		if err = errors.Join(err, r.err); err != nil {
			return fmt.Errorf("row %v: %w", r.columns["id"], err)
		}
	}
	return rows.Err()
}

// record is a row of a result by its columns; err is the first value that could
// not be read.
type record struct {
	columns  map[string]any
	location *time.Location
	err      error
}

func (r *record) text(column string) string {
	switch v := r.columns[column].(type) {
	case nil:
		return ""
	case string:
		return v
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

func (r *record) bytes(column string) []byte {
	switch v := r.columns[column].(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

func (r *record) flag(column string) bool {
	switch r.text(column) {
	case "1", "true", "t", "\x01":
		return true
	}
	return false
}

// time reads a time of the tables. A driver that makes a time of it has put it
// into a zone that the tables do not have.
func (r *record) time(column string) time.Time {
	switch v := r.columns[column].(type) {
	case nil:
		return time.Time{}
	case time.Time:
		return time.Date(v.Year(), v.Month(), v.Day(), v.Hour(), v.Minute(), v.Second(), v.Nanosecond(), r.location).UTC()
	}
	t, err := time.ParseInLocation("2006-01-02 15:04:05.999999", strings.Replace(r.text(column), "T", " ", 1), r.location)
	r.fail(column, err)
	return t.UTC()
}

func (r *record) fail(column string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%s: %w", column, err)
	}
}

func (r *record) value(column string) any {
	v, err := decodeValue(r.text(column))
	r.fail(column, err)
	return v
}

func (r *record) params(column string) map[string]any {
	v := r.value(column)
	m, ok := v.(map[string]any)
	if v != nil && !ok {
		r.fail(column, errors.New("want an object, {…}"))
	}
	return m
}

func (r *record) instance() *machine.Instance {
	return &machine.Instance{
		ID: r.text("id"), MachineID: r.text("machine_id"), Tenant: r.text("tenant_id"), ParentID: r.text("parent_id"),
		BusinessKey: r.text("business_key"), Started: r.time("gmt_started"), Ended: r.time("gmt_end"), Updated: r.time("gmt_updated"),
		StartParams: r.params("start_params"), EndParams: r.params("end_params"), Failure: javaerror.Decode(r.bytes("excep")),
		Status: machine.Status(r.text("status")), Compensation: machine.Status(r.text("compensation_status")), Live: r.flag("is_running"),
	}
}

func (r *record) row() *machine.Row {
	row := &machine.Row{
		ID: r.text("id"), InstanceID: r.text("machine_inst_id"), Name: r.text("name"), Type: r.text("type"),
		ServiceName: r.text("service_name"), ServiceMethod: r.text("service_method"), ServiceType: r.text("service_type"),
		BusinessKey: r.text("business_key"), CompensatedFor: r.text("state_id_compensated_for"), RetriedFor: r.text("state_id_retried_for"),
		ForUpdate: r.flag("is_for_update"), Started: r.time("gmt_started"), Ended: r.time("gmt_end"),
		Input: r.value("input_params"), Output: r.value("output_params"),
		Status: machine.Status(r.text("status")), Failure: javaerror.Decode(r.bytes("excep")),
	}
	if row.Status == machine.Running { // Java's table for PostgreSQL fills the column from the start
		row.Ended = time.Time{}
	}
	return row
}

const definitionColumns = "id, tenant_id, app_name, name, status, gmt_create, ver, type, content, recover_strategy, comment_"

// Define implements Store.
func (s *SQL) Define(ctx context.Context, d Definition) (Definition, error) {
	old, err := s.Newest(ctx, d.Tenant, d.Name)
	if err == nil && old.Version == d.Version && old.Content == d.Content {
		return old, nil
	}
	if d.Type == "" {
		d.Type = StateLanguage
	}
	if err == nil && !d.Created.After(old.Created) { // the newest is found by its time
		d.Created = old.Created.Add(time.Millisecond)
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return d, err
	}
	_, err = s.cfg.DB.ExecContext(ctx, s.q("INSERT INTO {p}state_machine_def ("+definitionColumns+") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"),
		d.ID, d.Tenant, d.App, d.Name, "AC", s.stamp(d.Created), d.Version, d.Type, d.Content, null(d.RecoverStrategy), null(d.Comment))
	if err != nil {
		return d, fmt.Errorf("saga log: store state machine %q: %w", d.Name, err)
	}
	return d, nil
}

// Newest implements Store.
func (s *SQL) Newest(ctx context.Context, tenant, name string) (Definition, error) {
	return s.definition(ctx, fmt.Sprintf("state machine %q of tenant %s", name, tenant),
		"name = ? AND tenant_id = ? ORDER BY gmt_create DESC LIMIT 1", name, tenant)
}

// ByID implements Store.
func (s *SQL) ByID(ctx context.Context, id string) (Definition, error) {
	return s.definition(ctx, "state machine "+id, "id = ?", id)
}

func (s *SQL) definition(ctx context.Context, what, where string, args ...any) (Definition, error) {
	var found *Definition
	err := s.each(ctx, "SELECT "+definitionColumns+" FROM {p}state_machine_def WHERE "+where, args, func(r *record) error {
		found = &Definition{ID: r.text("id"), Name: r.text("name"), Tenant: r.text("tenant_id"), App: r.text("app_name"),
			Comment: r.text("comment_"), Version: r.text("ver"), RecoverStrategy: r.text("recover_strategy"),
			Content: r.text("content"), Type: r.text("type"), Created: r.time("gmt_create")}
		return nil
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	if err != nil {
		return Definition{}, fmt.Errorf("saga log: %s: %w", what, err)
	}
	return *found, nil
}

// Read returns an instance and its definition without joining the node that cfg
// names: for tools that look and change nothing.
func Read(ctx context.Context, cfg Config, id string) (*machine.Log, Definition, error) {
	if err := cfg.complete(); err != nil {
		return nil, Definition{}, err
	}
	s := &SQL{cfg: cfg}
	if err := s.probe(ctx); err != nil {
		return nil, Definition{}, err
	}
	log, err := s.Load(ctx, id)
	if err != nil {
		return nil, Definition{}, err
	}
	d, err := s.ByID(ctx, log.Instance.MachineID)
	return log, d, err
}
