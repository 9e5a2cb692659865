package native

import (
	"encoding/binary"

	"github.com/qiao-tx/qiao/protocol"
)

// minInner is the length in bytes of the shortest message within another: its
// type code. A list announced as n messages needs n times that.
const minInner = 2

// idRule says whether a message that holds others ends with their ids.
type idRule uint8

const (
	idsNone idRule = iota
	idsOptional
	idsRequired
)

// merged codes a list of messages: the length in bytes of what follows, the
// count, the messages with their type codes, and their ids by the rule.
func (c *coder) merged(messages *[]protocol.Message, ids *[]int32, rule idRule) {
	if c.inMerged {
		c.fail(ErrNested, "at most one level is allowed")
		return
	}
	if c.encoding {
		c.inMerged = true
		c.appendMerged(*messages, ids, rule)
	} else {
		c.readMerged(messages, ids, rule)
	}
}

func (c *coder) appendMerged(messages []protocol.Message, ids *[]int32, rule idRule) {
	if len(messages) > MaxMerged {
		c.fail(ErrTooLong, "%d messages, at most %d fit", len(messages), MaxMerged)
		return
	}
	if rule != idsNone && len(*ids) != len(messages) && (rule == idsRequired || len(*ids) != 0) {
		c.fail(ErrInvalid, "%d ids for %d messages", len(*ids), len(messages))
		return
	}
	start := len(c.b)
	c.b = append(c.b, 0, 0, 0, 0)
	c.b = binary.BigEndian.AppendUint16(c.b, uint16(len(messages)))
	for _, m := range messages {
		if m == nil {
			c.fail(ErrInvalid, "a nil message")
		}
		if c.err != nil {
			return
		}
		c.typed(m)
	}
	if rule != idsNone {
		for _, id := range *ids {
			c.int32(&id)
		}
	}
	binary.BigEndian.PutUint32(c.b[start:], uint32(len(c.b)-start-4))
}

func (c *coder) readMerged(messages *[]protocol.Message, ids *[]int32, rule idRule) {
	var length int32
	var count int16
	c.int32(&length)
	if c.err != nil {
		return
	}
	if length < 0 {
		c.fail(ErrTruncated, "%d bytes of merged messages announced", length)
		return
	}
	if int(length) > c.remaining() {
		c.short(int(length))
		return
	}
	c.inMerged = true
	c.b = c.b[:c.pos+int(length)]
	c.int16(&count)
	if c.err != nil {
		return
	}
	if count < 0 || int(count)*minInner > c.remaining() {
		c.fail(ErrTooLong, "%d messages announced in %d bytes", count, c.remaining())
		return
	}
	list := make([]protocol.Message, 0, count)
	for range count {
		m := c.next()
		if c.err != nil {
			return
		}
		list = append(list, m)
	}
	*messages = list
	if rule == idsNone || rule == idsOptional && (count == 0 || c.remaining() == 0) {
		return
	}
	numbers := make([]int32, count)
	for i := range numbers {
		c.int32(&numbers[i])
	}
	*ids = numbers
}
