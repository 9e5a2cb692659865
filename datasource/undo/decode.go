package undo

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/qiao-tx/qiao/datasource/image"
	"github.com/qiao-tx/qiao/datasource/sqlparse"
)

// Decode reads a record. context is the row's context column. The error is
// ErrUndecodable or ErrForeign.
func (c Codec) Decode(context string, content []byte) (Record, error) {
	if len(content) > MaxSize {
		return Record{}, undecodable("%d bytes, at most %d are read", len(content), MaxSize)
	}
	content, err := unpack(context, content)
	if err != nil {
		return Record{}, err
	}
	if !utf8.Valid(content) {
		return Record{}, undecodable("it is not UTF-8")
	}
	var w wireRecord
	if err := json.Unmarshal(content, &w); err != nil {
		return Record{}, undecodable("%v", err)
	}
	if err := wantClass(w.Class, "undo.BranchUndoLog"); err != nil {
		return Record{}, err
	}
	r := Record{XID: w.XID, BranchID: w.BranchID}
	for i, s := range w.Logs.items() {
		e, err := c.entry(s)
		if err != nil {
			return Record{}, fmt.Errorf("statement %d: %w", i+1, err)
		}
		r.Entries = append(r.Entries, e)
	}
	return r, nil
}

// unpack undoes the compression that the context names.
func unpack(context string, content []byte) ([]byte, error) {
	compressor := "NONE"
	for pair := range strings.SplitSeq(context, "&") {
		key, value, _ := strings.Cut(pair, "=")
		switch key {
		case "serializer":
			if value != "jackson" {
				return nil, fmt.Errorf("%w: serializer %q", ErrForeign, value)
			}
		case "compressorType":
			compressor = value
		case "subId":
			return nil, fmt.Errorf("%w: split over several rows (%s)", ErrForeign, pair)
		}
	}
	switch compressor {
	case "NONE":
		return content, nil
	case "ZIP":
		return unzip(content)
	}
	return nil, fmt.Errorf("%w: compressor %q", ErrForeign, compressor)
}

// localHeaderLen is the fixed part of a ZIP entry's local header.
const localHeaderLen = 30

// unzip inflates the first entry of a ZIP stream. Java's has no central
// directory, which archive/zip insists on.
func unzip(content []byte) ([]byte, error) {
	if len(content) < localHeaderLen || !bytes.HasPrefix(content, []byte("PK\x03\x04")) {
		return nil, undecodable("no ZIP header")
	}
	if method := binary.LittleEndian.Uint16(content[8:]); method != zip.Deflate {
		return nil, undecodable("ZIP method %d", method)
	}
	start := localHeaderLen + int(binary.LittleEndian.Uint16(content[26:])) + int(binary.LittleEndian.Uint16(content[28:]))
	if start > len(content) {
		return nil, undecodable("the ZIP header reaches beyond the end")
	}
	inflated, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(content[start:])), MaxSize+1))
	if err != nil {
		return nil, undecodable("ZIP: %v", err)
	}
	if len(inflated) > MaxSize {
		return nil, undecodable("more than %d bytes decompressed", MaxSize)
	}
	return inflated, nil
}

// wantClass compares the end of a class name: the packages were called
// io.seata before 2.0 and org.apache.seata after.
func wantClass(class string, names ...string) error {
	for _, name := range names {
		for _, prefix := range []string{"org.apache.seata.rm.datasource.", "io.seata.rm.datasource."} {
			if class == prefix+name {
				return nil
			}
		}
	}
	return undecodable("class %q where %s was expected", class, strings.Join(names, " or "))
}

func (c Codec) entry(s wireStatement) (Entry, error) {
	if err := wantClass(s.Class, "undo.SQLUndoLog"); err != nil {
		return Entry{}, err
	}
	kind, ok := kinds[s.SQLType]
	if !ok {
		return Entry{}, undecodable("SQL type %q", s.SQLType)
	}
	before, err := c.image(s.Before)
	if err != nil {
		return Entry{}, fmt.Errorf("before image: %w", err)
	}
	after, err := c.image(s.After)
	if err != nil {
		return Entry{}, fmt.Errorf("after image: %w", err)
	}
	if kind == sqlparse.Insert && len(before.Rows) > 0 || kind == sqlparse.Delete && len(after.Rows) > 0 ||
		kind == sqlparse.Update && len(before.Rows) != len(after.Rows) {
		return Entry{}, undecodable("%s of table %s with %d rows before and %d after", s.SQLType, s.Table, len(before.Rows), len(after.Rows))
	}
	return Entry{Kind: kind, Table: s.Table, Before: before, After: after}, nil
}

func (c Codec) image(w wireImage) (image.Image, error) {
	if err := wantClass(w.Class, "sql.struct.TableRecords", "sql.struct.TableRecords$EmptyTableRecords"); err != nil {
		return image.Image{}, err
	}
	img := image.Image{Table: w.Table}
	for _, wr := range w.Rows.items() {
		if err := wantClass(wr.Class, "sql.struct.Row"); err != nil {
			return image.Image{}, err
		}
		row := make(image.Row, len(wr.Fields.items()))
		for i, wf := range wr.Fields.items() {
			if err := wantClass(wf.Class, "sql.struct.Field"); err != nil {
				return image.Image{}, err
			}
			v, err := c.decodeValue(wf.Value)
			if err != nil {
				return image.Image{}, fmt.Errorf("column %s: %w", wf.Name, err)
			}
			row[i] = image.Field{Name: wf.Name, Type: wf.Type, Key: wf.KeyType == keyPrimary, Value: v}
		}
		img.Rows = append(img.Rows, row)
	}
	return img, nil
}
