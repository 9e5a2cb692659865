package wiretext

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// What Seata's frames nearly always are in: version 1 and the codec seata.
const (
	usualVersion = 1
	usualCodec   = 1
)

// object is a JSON object as Encode understands it.
type object struct {
	header  rpc.Header
	message protocol.Message
	raw     []byte // nil when there is none
}

// members are JSON values by name.
type members map[string]json.RawMessage

func parseObject(text []byte) (*object, error) {
	var given members
	if err := parse(text, &given); err != nil {
		return nil, fmt.Errorf("no JSON object: %w", err)
	}
	if given == nil {
		return nil, errors.New("no JSON object: null")
	}
	if reason, ok := given["error"]; ok {
		return nil, fmt.Errorf("this is no frame but an error: %s", reason)
	}
	o := &object{header: rpc.Header{Version: usualVersion, Codec: usualCodec}}
	kind, err := parseType(given)
	if err != nil {
		return nil, err
	}
	if o.message, err = newMessage(kind); err != nil {
		return nil, err
	}
	o.header.MessageType = usualMessageType(kind)
	header := reflect.ValueOf(&o.header).Elem()
	for name, field := range map[string]string{
		"version": "Version", "message_type": "MessageType", "codec": "Codec", "compressor": "Compressor", "request_id": "ID",
	} {
		if text, ok := given[name]; ok {
			if err := readNumber(header.FieldByName(field), text); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if text, ok := given["head_map"]; ok {
		if err := parse(text, &o.header.Head); err != nil {
			return nil, fmt.Errorf("head_map: want an object of texts: %w", err)
		}
	}
	if text, ok := given["body"]; ok {
		if err := readBody(o.message, text); err != nil {
			return nil, fmt.Errorf("body of %v: %w", kind, err)
		}
	}
	if text, ok := given["raw"]; ok {
		var digits string
		if err := parse(text, &digits); err != nil {
			return nil, fmt.Errorf("raw: %w", err)
		}
		if o.raw, err = hex.DecodeString(digits); err != nil {
			return nil, fmt.Errorf("raw: %w", err)
		}
	}
	return o, given.only("version", "message_type", "codec", "compressor", "request_id", "head_map", "type", "body", "raw",
		"time", "connection", "direction", "from", "to", "line")
}

// only refuses members with other names.
func (given members) only(names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("there is no member %q here; there are %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

func parseType(given members) (protocol.TypeCode, error) {
	text, ok := given["type"]
	if !ok {
		return 0, errors.New(`the member "type" is missing: it names the message, such as "GlobalBegin"`)
	}
	name := string(text)
	if strings.HasPrefix(name, `"`) {
		if err := parse(text, &name); err != nil {
			return 0, fmt.Errorf("type: %w", err)
		}
	}
	return typeByName(name)
}

// usualMessageType is how Seata frames a message of the type.
func usualMessageType(kind protocol.TypeCode) byte {
	switch kind {
	case protocol.TypeHeartbeat:
		return frame.HeartbeatRequest
	case protocol.TypeMerged, protocol.TypeUndoLogDelete:
		return frame.OneWay
	case protocol.TypeBatchResult:
		return frame.Response
	}
	if kind%2 == 0 {
		return frame.Response
	}
	return frame.Request
}

// readBody fills m. Fields that are left out stay zero.
func readBody(m protocol.Message, text json.RawMessage) error {
	var given members
	if err := parse(text, &given); err != nil {
		return fmt.Errorf("want an object of its fields: %w", err)
	}
	var names []string
	for name, v := range fields(m) {
		names = append(names, name)
		if text, ok := given[name]; ok {
			if err := readValue(v, text); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return given.only(names...)
}

func readValue(v reflect.Value, text json.RawMessage) error {
	switch {
	case isList(v):
		list, err := readList(text)
		v.Set(reflect.ValueOf(list))
		return err
	case v.CanInt(), v.CanUint():
		return readNumber(v, text)
	}
	return parse(text, v.Addr().Interface())
}

// readNumber takes a number, one in quotes (some tools cannot hold 64 bits), or
// the name of a value of an enumeration. Null is zero.
func readNumber(v reflect.Value, text json.RawMessage) error {
	word := string(text)
	if strings.HasPrefix(word, `"`) {
		if err := parse(text, &word); err != nil {
			return err
		}
	} else if word == "null" {
		return nil
	}
	n, err := strconv.ParseInt(word, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && !setNumber(v, n):
		return fmt.Errorf("%s does not fit into %d bits", word, v.Type().Bits())
	case err != nil:
		return setByName(v, word)
	}
	return nil
}

func readList(text json.RawMessage) ([]protocol.Message, error) {
	var given []members
	if err := parse(text, &given); err != nil {
		return nil, fmt.Errorf("want a list of objects: %w", err)
	}
	list := make([]protocol.Message, len(given))
	for i, item := range given {
		kind, err := parseType(item)
		if err == nil {
			list[i], err = newMessage(kind)
		}
		if text, ok := item["body"]; ok && err == nil {
			err = readBody(list[i], text)
		}
		if err == nil {
			err = item.only("type", "body")
		}
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i+1, err)
		}
	}
	return list, nil
}

// parse reads text, one JSON value and nothing else.
func parse(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the value")
	}
	return nil
}
