package sagalog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/qiao-tx/qiao/saga/javaerror"
	"github.com/qiao-tx/qiao/saga/machine"
)

// maxGroup bounds how many Batches share a transaction.
const maxGroup = 512

// entry is a Batch on its way into the log.
type entry struct {
	changes   []change
	heartbeat bool
	done      chan error
}

// change is a row to insert, or a statement that must change exactly one row.
type change struct {
	kind changeKind
	args []any
	// unmatched is the error if no row is changed; nil if that is no error.
	unmatched error
}

type changeKind uint8

// The changes, in the order in which a transaction makes them.
const (
	guardInstance changeKind = iota
	dropOwner
	insertInstance
	insertOwner
	insertRow
	updateRow
	resetRow
	restartInstance
	noteInstance
	finishInstance
	deleteOwner
	changeKinds
)

// insertHeads begin the statements that insert several rows at once.
var insertHeads = map[changeKind]struct {
	head    string
	columns int
}{
	insertInstance: {"INSERT INTO {p}state_machine_inst (id, machine_id, tenant_id, parent_id, gmt_started, business_key, " +
		"start_params, is_running, status, compensation_status, end_params, excep, gmt_updated, gmt_end) VALUES ", 14},
	insertOwner: {"INSERT INTO qiao_saga_owner (machine_inst_id, node) VALUES ", 2},
	insertRow: {"INSERT INTO {p}state_inst (id, machine_inst_id, name, type, gmt_started, service_name, service_method, " +
		"service_type, is_for_update, input_params, status, business_key, state_id_compensated_for, state_id_retried_for, " +
		"gmt_updated, gmt_end) VALUES ", 16},
}

var statements = map[changeKind]string{
	updateRow: "UPDATE {p}state_inst SET gmt_end = ?, excep = ?, status = ?, output_params = ?, gmt_updated = ? " +
		"WHERE id = ? AND machine_inst_id = ?",
	resetRow: "UPDATE {p}state_inst SET status = ?, gmt_updated = ?, gmt_end = NULL, excep = NULL, output_params = NULL, " +
		"input_params = ?, business_key = ? WHERE id = ? AND machine_inst_id = ?",
	restartInstance: "UPDATE {p}state_machine_inst SET is_running = ?, gmt_updated = ?, status = ?, compensation_status = ? " +
		"WHERE id = ? AND gmt_updated = ?",
	noteInstance: "UPDATE {p}state_machine_inst SET status = ?, compensation_status = ?, end_params = ?, excep = ? " +
		"WHERE id = ? AND gmt_updated = ?",
	finishInstance: "UPDATE {p}state_machine_inst SET gmt_end = ?, excep = ?, end_params = ?, status = ?, " +
		"compensation_status = ?, is_running = ? WHERE id = ? AND gmt_updated = ?",
	dropOwner:   "DELETE FROM qiao_saga_owner WHERE machine_inst_id = ?",
	deleteOwner: "DELETE FROM qiao_saga_owner WHERE machine_inst_id = ?",
}

// Write implements Store.
func (s *SQL) Write(ctx context.Context, b *machine.Batch) error {
	changes, err := s.changes(b)
	if err != nil {
		return fmt.Errorf("saga log: %w", err)
	}
	return s.submit(ctx, &entry{changes: changes, done: make(chan error, 1)})
}

// submit hands an entry to the writer and waits until it is durable. It does not
// give up with ctx once the writer has the entry.
func (s *SQL) submit(ctx context.Context, e *entry) error {
	select {
	case s.entries <- e:
	case <-s.closing:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("saga log: nothing was written: %w", context.Cause(ctx))
	}
	select {
	case err := <-e.done:
		return err
	case <-s.closing:
		return errClosed
	}
}

var errClosed = errors.New("the saga log is closed")

func null(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// changes turns a Batch into rows and statements.
func (s *SQL) changes(b *machine.Batch) ([]change, error) {
	var all []change
	var failed error
	encode := func(v any) any {
		text, err := encodeValue(v, s.cfg.Jackson)
		failed = errors.Join(failed, err)
		return text
	}
	params := func(m map[string]any) any {
		if m == nil {
			return nil
		}
		return encode(m)
	}
	add := func(kind changeKind, unmatched error, args ...any) {
		all = append(all, change{kind: kind, args: args, unmatched: unmatched})
	}
	if i := b.Guard; i != nil {
		add(guardInstance, fmt.Errorf("instance %s: %w", i.ID, ErrTaken), i.ID, s.stamp(i.Updated))
	}
	if i := b.Insert; i != nil {
		add(insertInstance, nil, i.ID, i.MachineID, i.Tenant, null(i.ParentID), s.stamp(i.Started), null(i.BusinessKey),
			params(i.StartParams), true, string(machine.Running), nil, nil, nil, s.stamp(i.Updated), nil)
		if i.ParentID == "" && b.Finish == nil {
			add(insertOwner, nil, i.ID, s.cfg.Node)
		}
	}
	if i := b.Restart; i != nil {
		taken := fmt.Errorf("instance %s: %w", i.ID, ErrTaken)
		add(restartInstance, taken, true, s.stamp(i.Updated), string(i.Status), null(string(i.Compensation)), i.ID, s.stamp(b.Before))
		if i.ParentID == "" {
			add(dropOwner, nil, i.ID)
			add(insertOwner, nil, i.ID, s.cfg.Node)
		}
	}
	for _, r := range b.Begun {
		add(insertRow, nil, r.ID, r.InstanceID, r.Name, r.Type, s.stamp(r.Started), null(r.ServiceName), null(r.ServiceMethod),
			null(r.ServiceType), r.ForUpdate, encode(r.Input), string(r.Status), null(r.BusinessKey), null(r.CompensatedFor),
			null(r.RetriedFor), s.stamp(r.Started), nil)
	}
	for _, r := range b.Again {
		add(resetRow, fmt.Errorf("state row %s: %w", r.ID, ErrNotFound), string(r.Status), s.stamp(r.Started), encode(r.Input),
			null(r.BusinessKey), r.ID, r.InstanceID)
	}
	for _, r := range b.Done {
		add(updateRow, fmt.Errorf("state row %s: %w", r.ID, ErrNotFound), s.stamp(r.Ended), nullBytes(javaerror.Encode(r.Failure)),
			string(r.Status), encode(r.Output), s.stamp(r.Ended), r.ID, r.InstanceID)
	}
	if i := b.Note; i != nil {
		add(noteInstance, fmt.Errorf("instance %s: %w", i.ID, ErrTaken), string(i.Status), null(string(i.Compensation)),
			params(i.EndParams), nullBytes(javaerror.Encode(i.Failure)), i.ID, s.stamp(i.Updated))
	}
	if i := b.Finish; i != nil {
		add(finishInstance, fmt.Errorf("instance %s: %w", i.ID, ErrTaken), s.stamp(i.Ended), nullBytes(javaerror.Encode(i.Failure)),
			params(i.EndParams), string(i.Status), null(string(i.Compensation)), false, i.ID, s.stamp(i.Updated))
		if i.ParentID == "" {
			add(deleteOwner, nil, i.ID)
		}
	}
	return all, failed
}

func nullBytes(b []byte) any {
	if b == nil {
		return nil
	}
	return b
}

// writeAll is the writer: whatever waits shares the next transaction.
func (s *SQL) writeAll(ctx context.Context) {
	w := &connection{store: s, prepared: map[string]*sql.Stmt{}}
	defer w.drop()
	for {
		var group []*entry
		select {
		case e := <-s.entries:
			group = append(group, e)
		case <-ctx.Done():
			return
		}
		for len(group) < maxGroup {
			select {
			case e := <-s.entries:
				group = append(group, e)
				continue
			default:
			}
			break
		}
		s.writeGroup(ctx, w, group)
	}
}

// writeGroup writes the entries together. If that fails it writes each alone, so
// that one that cannot be written does not take the others with it; but not what
// may have been written.
func (s *SQL) writeGroup(ctx context.Context, w *connection, group []*entry) {
	err := w.write(ctx, group)
	if err == nil || len(group) == 1 || errors.Is(err, ErrFenced) || errors.Is(err, ErrUnanswered) || ctx.Err() != nil {
		for _, e := range group {
			e.done <- err
		}
		return
	}
	for _, e := range group {
		e.done <- w.write(ctx, []*entry{e})
	}
}

// connection is the writer's own, with its prepared statements.
type connection struct {
	store    *SQL
	conn     *sql.Conn
	prepared map[string]*sql.Stmt
}

func (w *connection) drop() {
	for text, statement := range w.prepared {
		_ = statement.Close()
		delete(w.prepared, text)
	}
	if w.conn != nil {
		discard(w.conn)
		_ = w.conn.Close()
		w.conn = nil
	}
}

// write makes the entries durable in one transaction. A connection that fails is
// given up.
func (w *connection) write(ctx context.Context, group []*entry) error {
	if w.conn == nil {
		conn, err := w.store.cfg.DB.Conn(ctx)
		if err != nil {
			return fmt.Errorf("saga log: no connection to write on: %w", err)
		}
		w.conn = conn
	}
	err := w.store.onConn(ctx, w.conn, func(*sql.Conn) error { return w.apply(ctx, group) })
	if err == nil || errors.Is(err, ErrFenced) || errors.Is(err, ErrTaken) {
		return err
	}
	if isDuplicate(err) {
		return fmt.Errorf("saga log: %w: %w", ErrExists, err)
	}
	w.drop()
	return fmt.Errorf("saga log: %w", err)
}

// isDuplicate recognises a violated unique key in the words of all databases.
func isDuplicate(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "duplicate") || strings.Contains(text, "unique constraint")
}

func (w *connection) apply(ctx context.Context, group []*entry) error {
	s := w.store
	var epoch int64
	fence, err := w.statement(ctx, "SELECT epoch FROM qiao_saga_node WHERE node = ?"+s.lock())
	if err != nil {
		return err
	}
	if err := fence.QueryRowContext(ctx, s.cfg.Node).Scan(&epoch); err != nil {
		return err
	}
	if epoch != s.epoch {
		return fmt.Errorf("node %s: %w", s.cfg.Node, ErrFenced)
	}
	var byKind [changeKinds][]change
	for _, e := range group {
		if e.heartbeat {
			if err := w.exec(ctx, change{args: []any{s.aliveUntil(), s.cfg.Node}}, "UPDATE qiao_saga_node SET alive_until = ? WHERE node = ?"); err != nil {
				return err
			}
		}
		for _, c := range e.changes {
			byKind[c.kind] = append(byKind[c.kind], c)
		}
	}
	return w.applyKinds(ctx, &byKind)
}

func (w *connection) applyKinds(ctx context.Context, byKind *[changeKinds][]change) error {
	for kind := range changeKind(changeKinds) {
		changes := byKind[kind]
		if kind == guardInstance {
			if err := w.guard(ctx, changes); err != nil {
				return err
			}
			continue
		}
		if insert, ok := insertHeads[kind]; ok {
			if err := w.insert(ctx, insert.head, insert.columns, changes); err != nil {
				return err
			}
			continue
		}
		for _, c := range changes {
			if err := w.exec(ctx, c, statements[kind]); err != nil {
				return err
			}
		}
	}
	return nil
}

// maxRows bounds the rows of one INSERT or SELECT.
const maxRows = 32

// guard finds out whether all instances are as they were, and keeps others from
// taking them up until the transaction has ended.
func (w *connection) guard(ctx context.Context, changes []change) error {
	const one = "id = ? AND gmt_updated = ?"
	for n := maxRows; len(changes) > 0; n /= 2 {
		for ; len(changes) >= n; changes = changes[n:] {
			args := make([]any, 0, 2*n)
			for _, c := range changes[:n] {
				args = append(args, c.args...)
			}
			where := strings.TrimSuffix(strings.Repeat(one+" OR ", n), " OR ")
			statement, err := w.statement(ctx, "SELECT id FROM {p}state_machine_inst WHERE "+where+w.store.lock())
			if err != nil {
				return err
			}
			found, err := texts(statement.QueryContext(ctx, args...))
			if err != nil {
				return err
			}
			if len(found) < n {
				return changes[0].unmatched // the group is written one by one then
			}
		}
	}
	return nil
}

// insert writes rows with as few statements as powers of two allow, so that few
// different ones are prepared.
func (w *connection) insert(ctx context.Context, head string, columns int, rows []change) error {
	row := "(" + strings.TrimSuffix(strings.Repeat("?, ", columns), ", ") + ")"
	for n := maxRows; len(rows) > 0; n /= 2 {
		for len(rows) >= n {
			args := make([]any, 0, n*columns)
			for _, r := range rows[:n] {
				args = append(args, r.args...)
			}
			values := strings.TrimSuffix(strings.Repeat(row+", ", n), ", ")
			if err := w.exec(ctx, change{args: args}, head+values); err != nil {
				return err
			}
			rows = rows[n:]
		}
	}
	return nil
}

func (w *connection) exec(ctx context.Context, c change, text string) error {
	statement, err := w.statement(ctx, text)
	if err != nil {
		return err
	}
	result, err := statement.ExecContext(ctx, c.args...)
	if err != nil || c.unmatched == nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 && !(c.kind == noteInstance && w.there(ctx, c.args)) {
		return c.unmatched
	}
	return err
}

// there tells whether a note's row exists: MySQL counts a row whose values were
// the same already as not changed.
func (w *connection) there(ctx context.Context, args []any) bool {
	statement, err := w.statement(ctx, "SELECT 1 FROM {p}state_machine_inst WHERE id = ? AND gmt_updated = ?")
	if err != nil {
		return false
	}
	var one int
	return statement.QueryRowContext(ctx, args[len(args)-2:]...).Scan(&one) == nil
}

func (w *connection) statement(ctx context.Context, text string) (*sql.Stmt, error) {
	if statement := w.prepared[text]; statement != nil {
		return statement, nil
	}
	statement, err := w.conn.PrepareContext(ctx, w.store.q(text))
	if err != nil {
		return nil, err
	}
	w.prepared[text] = statement
	return statement, nil
}
