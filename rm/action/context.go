package action

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Keys of the action context that Java Seata writes beside the action's own
// parameters, and the key of the action context in the application data
// (org.apache.seata.common.Constants).
const (
	keyActionContext = "actionContext"
	keyStartTime     = "action-start-time"
	keyHost          = "host-name"
	keyAction        = "actionName"
	keyFenced        = "useTCCFence"

	keyTry     = "sys::prepare"
	keyConfirm = "sys::commit"
	keyCancel  = "sys::rollback"
	// keyArgument holds an argument that is not a JSON object; it is ours.
	keyArgument = "qiao::argument"
)

// reserved are the names that an argument's fields must not have.
var reserved = []string{keyStartTime, keyHost, keyAction, keyFenced, keyTry, keyConfirm, keyCancel, keyArgument}

// Environment is what the action context says beside the argument.
type Environment struct {
	// Action is the resource id.
	Action string
	// Fenced: the branch is recorded in the fence table.
	Fenced bool
	// Try, Confirm and Cancel name the functions of the phases; Confirm is empty
	// for a call with a compensation.
	Try, Confirm, Cancel string
	// Started is when phase one began.
	Started time.Time
}

// entries is an Environment as JSON.
type entries struct {
	StartTime int64  `json:"action-start-time"`
	Action    string `json:"actionName"`
	Host      string `json:"host-name"`
	Confirm   string `json:"sys::commit,omitempty"`
	Try       string `json:"sys::prepare,omitempty"`
	Cancel    string `json:"sys::rollback,omitempty"`
	Fenced    bool   `json:"useTCCFence"`
}

// hostName is shown to people only.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

// Encode builds a branch's application data: {"actionContext":{...}}.
func Encode(env Environment, arg any) (string, error) {
	raw, err := json.Marshal(arg)
	if err != nil {
		return "", fmt.Errorf("argument of type %T: %w", arg, err)
	}
	if raw[0] != '{' {
		raw = slices.Concat([]byte(`{"`+keyArgument+`":`), raw, []byte{'}'})
	} else if name, taken := takenName(raw); taken {
		return "", fmt.Errorf("argument of type %T: its field %q has a name that Seata uses itself; rename it", arg, name)
	}
	own, err := json.Marshal(entries{
		StartTime: env.Started.UnixMilli(), Action: env.Action, Host: hostName(),
		Try: env.Try, Confirm: env.Confirm, Cancel: env.Cancel, Fenced: env.Fenced,
	})
	if err != nil {
		return "", err
	}
	// Both are objects; the result is one with the entries of both.
	data := make([]byte, 0, len(own)+len(raw)+32)
	data = append(data, `{"`+keyActionContext+`":`...)
	data = append(data, own[:len(own)-1]...)
	if len(raw) > len("{}") {
		data = append(data, ',')
	}
	data = append(data, raw[1:]...)
	return string(append(data, '}')), nil
}

// takenName finds a field of an object whose name Seata uses itself. Only where
// such a name occurs at all it takes a closer look.
func takenName(object []byte) (string, bool) {
	if !slices.ContainsFunc(reserved, func(name string) bool { return bytes.Contains(object, []byte(`"`+name+`"`)) }) {
		return "", false
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil {
		return "", false // it was just written by json.Marshal
	}
	for _, name := range reserved {
		if _, taken := fields[name]; taken {
			return name, true
		}
	}
	return "", false
}

// Context is a branch's action context as it was registered: a JSON object, or nil.
type Context json.RawMessage

// Parse reads application data, also that of a Java participant. Missing data
// is an empty context.
func Parse(data string) (Context, error) {
	if data == "" {
		return nil, nil
	}
	var outer struct {
		ActionContext json.RawMessage `json:"actionContext"`
	}
	if err := json.Unmarshal([]byte(data), &outer); err != nil {
		return nil, fmt.Errorf("application data of the branch: %w", err)
	}
	switch raw := outer.ActionContext; {
	case len(raw) == 0 || bytes.Equal(raw, []byte("null")):
		return nil, nil
	case raw[0] != '{':
		return nil, errors.New("action context of the branch: it is no JSON object")
	default:
		return Context(raw), nil
	}
}

// Entries are what the context consists of.
func (c Context) Entries() (map[string]json.RawMessage, error) {
	var all map[string]json.RawMessage
	if c == nil {
		return all, nil
	}
	err := json.Unmarshal(c, &all)
	return all, err
}

// Started is when phase one began by the clock of its process; the zero time
// when the context does not tell.
func (c Context) Started() time.Time {
	var told struct {
		StartTime int64 `json:"action-start-time"`
	}
	if c == nil || json.Unmarshal(c, &told) != nil || told.StartTime <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(told.StartTime)
}

// Decode reads the argument back. What is missing has its zero value, as a
// missing parameter is null in Java.
func Decode[T any](c Context) (arg T, err error) {
	if c == nil {
		return arg, nil
	}
	if takesFields(reflect.TypeFor[T]()) && !bytes.Contains(c, []byte(keyArgument)) && json.Unmarshal(c, &arg) == nil {
		return arg, nil // what it has beside the fields is passed over
	}
	var slow T
	if err := decodeSlowly(c, &slow); err != nil {
		return arg, fmt.Errorf("action context of the branch as %T: %w", arg, err)
	}
	return slow, nil
}

// takesFields tells whether encoding/json fills a type field by field, and none of
// its fields with what is Seata's own: it does not mind the case of letters.
func takesFields(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	unmarshaler := reflect.TypeFor[json.Unmarshaler]()
	if t.Kind() != reflect.Struct || t.Implements(unmarshaler) || reflect.PointerTo(t).Implements(unmarshaler) {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		own := func(r string) bool { return strings.EqualFold(r, cmp.Or(name, f.Name)) }
		if f.Anonymous || slices.ContainsFunc(reserved, own) {
			return false
		}
	}
	return true
}

func decodeSlowly[T any](c Context, arg *T) error {
	all, err := c.Entries()
	if err != nil {
		return err
	}
	if whole, ok := all[keyArgument]; ok {
		return json.Unmarshal(whole, arg)
	}
	if err = decodeFields(all, arg, false); err == nil {
		return nil
	}
	// What a Java participant adds during its try is text, with JSON inside
	// unless it is simple (ActionContextUtil.handleActionContext).
	var other T
	if decodeFields(all, &other, true) == nil {
		*arg = other
		return nil
	}
	return err
}

// decodeFields reads the argument out of its fields; unpack reads texts that
// hold JSON as that.
func decodeFields(all map[string]json.RawMessage, arg any, unpack bool) error {
	fields := make(map[string]json.RawMessage, len(all))
	for name, value := range all {
		var text string
		switch {
		case slices.Contains(reserved, name):
			continue
		case unpack && json.Unmarshal(value, &text) == nil && json.Valid([]byte(text)):
			value = json.RawMessage(text)
		}
		fields[name] = value
	}
	raw, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, arg)
}
