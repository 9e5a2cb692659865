package wiretext

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"github.com/qiao-tx/qiao/protocol"
)

// MarshalJSON implements json.Marshaler.
func (b Body) MarshalJSON() ([]byte, error) {
	var out bytes.Buffer
	err := writeBody(&out, b.Message)
	return out.Bytes(), err
}

func writeBody(out *bytes.Buffer, m protocol.Message) error {
	separator := byte('{')
	for name, v := range fields(m) {
		out.WriteByte(separator)
		separator = ','
		fmt.Fprintf(out, "%q:", name)
		if err := writeValue(out, v); err != nil {
			return err
		}
	}
	if separator == '{' {
		out.WriteByte('{')
	}
	return out.WriteByte('}')
}

func writeValue(out *bytes.Buffer, v reflect.Value) error {
	if isList(v) {
		return writeList(out, v.Interface().([]protocol.Message))
	}
	value := v.Interface()
	switch {
	case nameOfValue(v) != "":
		value = nameOfValue(v)
	case v.Kind() == reflect.String:
		value = valid(v.String())
	case v.Kind() == reflect.Slice && v.IsNil():
		value = []int32{}
	}
	return writeJSON(out, value)
}

// writeJSON leaves < and > as they are: nobody reads this in a web page.
func writeJSON(out *bytes.Buffer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // the newline
	return nil
}

func writeList(out *bytes.Buffer, list []protocol.Message) error {
	out.WriteByte('[')
	for i, m := range list {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(out, `{"type":%q,"body":`, m.TypeCode())
		if err := writeBody(out, m); err != nil {
			return err
		}
		out.WriteByte('}')
	}
	return out.WriteByte(']')
}
