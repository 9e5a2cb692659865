package undo

import (
	"fmt"
	"strconv"
	"strings"
)

// Context is what undo_log's context column says of a record: pairs of Java's
// form "key=value&key=value". The zero value is a plain record of ours.
type Context struct {
	// Serializer is the name of Java's parser; "" is Jackson.
	Serializer string
	// Compressor is the name of Java's CompressorType; "" is NONE.
	Compressor string
	// Parts are the branch ids of the rows that hold the rest of the content,
	// in its order.
	Parts []int64
	// Java: a Java resource manager wrote the record, so that its images hold
	// what MySQL Connector/J reads.
	Java bool
}

// writtenByUs marks our records; Java passes over pairs that it does not know.
const writtenByUs = "by=qiao"

// MaxContext is the width of the column context, in characters.
const MaxContext = 128

// String is the text of a record that we write.
func (c Context) String() string {
	compressor := c.Compressor
	if compressor == "" {
		compressor = "NONE"
	}
	text := "serializer=jackson&compressorType=" + compressor + "&" + writtenByUs
	if len(c.Parts) == 0 {
		return text
	}
	ids := make([]string, len(c.Parts))
	for i, id := range c.Parts {
		ids[i] = strconv.FormatInt(id, 10)
	}
	return text + "&subId=" + strings.Join(ids, ",")
}

// PartContext is the context of the rows that hold more of a branch's record.
func PartContext(branchID int64) string { return fmt.Sprintf("branchId=%d", branchID) }

// ParseContext reads a row's context column. The error is ErrUndecodable.
func ParseContext(text string) (Context, error) {
	c := Context{Java: true}
	for pair := range strings.SplitSeq(text, "&") {
		key, value, _ := strings.Cut(pair, "=")
		switch {
		case pair == writtenByUs:
			c.Java = false
		case key == "serializer" && value != "jackson":
			c.Serializer = value
		case key == "compressorType" && value != "NONE":
			c.Compressor = value
		case key == "branchId":
			return Context{}, undecodable("it is a part of the record of branch %s", value)
		case key == "subId":
			for id := range strings.SplitSeq(strings.TrimSuffix(value, ","), ",") {
				n, err := strconv.ParseInt(id, 10, 64)
				if err != nil {
					return Context{}, undecodable("its part %q is no branch id", id)
				}
				c.Parts = append(c.Parts, n)
			}
		}
	}
	return c, nil
}

// Readable returns ErrForeign when the record is not in Jackson's form. Nothing
// has to be read of it then.
func (c Context) Readable() error {
	if c.Serializer == "" {
		return nil
	}
	return fmt.Errorf("%w: it is serialized by %s; set client.undo.logSerialization=jackson (seata.client.undo.log-serialization with Spring Boot) in the Java services on this database",
		ErrForeign, c.Serializer)
}
