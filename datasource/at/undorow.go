package at

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/qiao-tx/qiao/datasource/schema"
	"github.com/qiao-tx/qiao/datasource/undo"
	"github.com/qiao-tx/qiao/protocol/compress"
)

// A record is stored as Java stores it: packed when it is long, and on MySQL
// spread over several rows when one packet cannot carry it. The row of the
// branch holds the beginning and names the rows that hold the rest.

// packetShare is which part of the largest packet a row's content may take. A
// driver that writes arguments into the text doubles what it escapes; Java,
// whose driver does not, takes 0.8.
const packetShare = 0.4

// driverPacket is the largest packet that the Go driver sends by default, in
// bytes, whatever the server takes.
const driverPacket = 64 << 20

// rowLimit is the most content that one row takes, in bytes; 0 is no limit.
func (r *Resource) rowLimit(ctx context.Context, s session) (int, error) {
	if r.db.largestPacket == "" {
		return 0, nil
	}
	rows, err := s.Query(ctx, "SELECT "+r.db.largestPacket)
	if err != nil {
		return 0, fmt.Errorf("ask for the largest packet: %w", err)
	}
	var packet int64
	if _, err := fmt.Sscan(text(rows[0][0]), &packet); err != nil {
		return 0, fmt.Errorf("read the largest packet: %w", err)
	}
	return int(packetShare * float64(min(packet, driverPacket))), nil
}

// pack compresses content that is longer than the threshold, if that makes it
// shorter.
func (r *Resource) pack(content []byte) (undo.Context, []byte, error) {
	if r.compressor == compress.None || len(content) <= r.cfg.UndoThreshold {
		return undo.Context{}, content, nil
	}
	packed, err := r.packer.Append(nil, r.compressor, content)
	if err != nil {
		return undo.Context{}, nil, fmt.Errorf("compress the undo record: %w", err)
	}
	if len(packed) >= len(content) {
		return undo.Context{}, content, nil
	}
	return undo.Context{Compressor: strings.ToUpper(r.cfg.UndoCompressor)}, packed, nil
}

func (r *Resource) unpack(c undo.Context, packed []byte) ([]byte, error) {
	if c.Compressor == "" {
		return packed, nil
	}
	id, err := compress.ByName(c.Compressor)
	if err != nil {
		return nil, fmt.Errorf("%w: %w; set client.undo.compress.type=zip in the Java services on this database", undo.ErrForeign, err)
	}
	content, err := r.packer.Expand(nil, id, packed, undo.MaxSize)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", undo.ErrUndecodable, err)
	}
	return content, nil
}

// storeRecord writes a record into the rows of its branch. When the branch has
// a row already, the error is the database's for a duplicate key.
func (r *Resource) storeRecord(ctx context.Context, s session, key undoKey, content []byte) error {
	form, content, err := r.pack(content)
	if err != nil {
		return err
	}
	if r.limit > 0 && len(content) > r.limit {
		if form.Parts, err = r.storeParts(ctx, s, key, content[r.limit:]); err != nil {
			return err
		}
		content = content[:r.limit]
	}
	if text := form.String(); len(text) > undo.MaxContext {
		return fmt.Errorf("%w: it needs %d rows of %d bytes; raise max_allowed_packet, or change fewer rows in one local transaction",
			undo.ErrUnwritable, len(form.Parts)+1, r.limit)
	}
	return r.insertUndo(ctx, s, key, form.String(), content, undoNormal)
}

// maxPartID bounds the ids of rows that hold parts, far below those of
// branches. They are short because the column context holds all of a record's.
const maxPartID = 1_000_000

// storeParts writes the rest of a record into rows of their own, and returns
// their ids. Java reads them in the order of the index, so the ids ascend.
func (r *Resource) storeParts(ctx context.Context, s session, key undoKey, rest []byte) ([]int64, error) {
	count := (len(rest) + r.limit - 1) / r.limit
	if count > undo.MaxContext {
		return nil, fmt.Errorf("%w: it is %d bytes long and a row takes %d; raise max_allowed_packet, or change fewer rows in one local transaction",
			undo.ErrUnwritable, len(rest)+r.limit, r.limit)
	}
	ids := make([]int64, 0, count)
	for attempt := 0; len(rest) > 0; {
		first := 1 + rand.Int64N(maxPartID)
		if len(ids) > 0 {
			first = ids[len(ids)-1] + 1
		}
		n := min(len(rest), r.limit)
		err := r.insertUndo(ctx, s, undoKey{key.xid, first}, undo.PartContext(key.branchID), rest[:n], undoNormal)
		switch {
		case err == nil:
			ids, rest = append(ids, first), rest[n:]
		case r.db.duplicate(err) && len(ids) == 0 && attempt < undoAttempts:
			attempt++ // another branch of the transaction has this id
		case r.db.duplicate(err):
			return nil, errors.New("other branches of the transaction have the ids of its parts; try again")
		default:
			return nil, err
		}
	}
	return ids, nil
}

// loadRecord reads the record of a branch's row. instants is the same record
// with its moments in UTC: PostgreSQL's TIMESTAMPTZ are moments, its TIMESTAMP
// are in Java's own time, and a record does not tell them apart.
func (r *Resource) loadRecord(ctx context.Context, s session, key undoKey, row *undoRow) (record, instants undo.Record, form undo.Context, err error) {
	if form, err = undo.ParseContext(row.context); err != nil {
		return record, instants, form, err
	}
	if err = form.Readable(); err != nil {
		return record, instants, form, err
	}
	content, err := r.join(ctx, s, key, row.content, form.Parts)
	if err != nil {
		return record, instants, form, err
	}
	if content, err = r.unpack(form, content); err != nil {
		return record, instants, form, err
	}
	if record, err = r.codec.Decode(content); err != nil || r.cfg.Dialect != schema.PostgreSQL || r.codec.Zone == nil {
		return record, record, form, err
	}
	instants, err = undo.Codec{Dialect: r.cfg.Dialect}.Decode(content)
	return record, instants, form, err
}

// join puts the parts of a record behind its beginning.
func (r *Resource) join(ctx context.Context, s session, key undoKey, beginning []byte, parts []int64) ([]byte, error) {
	if len(parts) == 0 {
		return beginning, nil
	}
	args := []any{key.xid}
	for _, id := range parts {
		args = append(args, id)
	}
	rows, err := s.Query(ctx, "SELECT branch_id, rollback_info FROM undo_log WHERE xid = "+r.marks(1, 1)+
		" AND branch_id IN ("+r.marks(2, len(parts))+")"+locking(r.cfg.Dialect), args...)
	if err != nil {
		return nil, fmt.Errorf("read the parts of the undo record: %w", err)
	}
	byID := make(map[string]string, len(rows))
	for _, row := range rows {
		byID[text(row[0])] = text(row[1])
	}
	content := beginning
	for _, id := range parts {
		part, ok := byID[fmt.Sprint(id)]
		if !ok {
			return nil, fmt.Errorf("%w: its part %d is missing", undo.ErrUndecodable, id)
		}
		content = append(content, part...)
	}
	return content, nil
}
