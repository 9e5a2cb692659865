package wiretext

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/protocol/compress"
	"github.com/qiao-tx/qiao/protocol/frame"
	"github.com/qiao-tx/qiao/protocol/rpc"
)

// longText is how many bytes of a text a line shows.
const longText = 300

// Lines are the frame for people, one line for each message: names instead of
// numbers, and only the fields that say something. The parts of a merged message
// follow it, each with its own request id.
func (f *Frame) Lines() []string {
	m := f.Body.Message
	var line strings.Builder
	line.WriteString(f.title())
	fmt.Fprintf(&line, " id=%d", f.RequestID)
	for _, key := range sortedKeys(f.HeadMap) {
		fmt.Fprintf(&line, " head.%s=%s", word(key), word(f.HeadMap[key]))
	}
	writeFields(&line, m)
	lines := []string{line.String()}
	list, ids := parts(m)
	for i, part := range list {
		line.Reset()
		fmt.Fprintf(&line, "  %v", part.TypeCode())
		if i < len(ids) {
			fmt.Fprintf(&line, " id=%d", ids[i])
		}
		writeFields(&line, part)
		lines = append(lines, line.String())
	}
	return lines
}

// title is the message's name with what is unusual about its frame.
func (f *Frame) title() string {
	notes := make([]string, 0, 4)
	if f.Version != usualVersion {
		notes = append(notes, fmt.Sprintf("version %d", f.Version))
	}
	if f.MessageType == frame.OneWay {
		notes = append(notes, "one-way")
	}
	if name := rpc.CodecName(f.Codec); name != "seata" {
		notes = append(notes, name)
	}
	if f.Compressor != compress.None {
		notes = append(notes, compress.Name(f.Compressor))
	}
	title := f.Type
	switch f.MessageType {
	case frame.HeartbeatRequest:
		title = "Ping"
	case frame.HeartbeatResponse:
		title = "Pong"
	}
	if len(notes) > 0 {
		title += " (" + strings.Join(notes, ", ") + ")"
	}
	return title
}

// parts are the messages that m holds, and their request ids if it has them.
func parts(m protocol.Message) (list []protocol.Message, ids []int32) {
	for _, v := range fields(m) {
		switch value := v.Interface().(type) {
		case []protocol.Message:
			list = value
		case []int32:
			ids = value
		}
	}
	return list, ids
}

// writeFields leaves out empty texts and lists, and the exception of a success:
// its zero means nothing.
func writeFields(line *strings.Builder, m protocol.Message) {
	succeeded := false
	for name, v := range fields(m) {
		if code, ok := v.Interface().(protocol.ResultCode); ok {
			succeeded = code == protocol.ResultSuccess
		}
		_, exception := v.Interface().(protocol.ExceptionCode)
		switch {
		case exception && succeeded && v.IsZero():
		case v.Kind() == reflect.Slice:
			if isList(v) {
				fmt.Fprintf(line, " %s=%d", name, v.Len())
			}
		case v.Kind() == reflect.String:
			if v.Len() > 0 {
				fmt.Fprintf(line, " %s=%s", name, word(v.String()))
			}
		case nameOfValue(v) != "":
			fmt.Fprintf(line, " %s=%s", name, nameOfValue(v))
		default:
			fmt.Fprintf(line, " %s=%v", name, v)
		}
	}
}

// word is a text as one word of a line: in quotes if it would not be one.
func word(s string) string {
	rest := ""
	if len(s) > longText {
		rest = fmt.Sprintf("…(%d bytes)", len(s))
		s = strings.ToValidUTF8(s[:longText], "")
	}
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' || r == unicode.ReplacementChar
	})
	if !plain {
		s = strconv.Quote(s)
	}
	return s + rest
}
