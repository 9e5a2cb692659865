package action

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
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

	// KeyTry, KeyConfirm and KeyCancel name the functions of the phases.
	KeyTry     = "sys::prepare"
	KeyConfirm = "sys::commit"
	KeyCancel  = "sys::rollback"

	// keyArgument holds an argument that is not a JSON object; it is ours.
	keyArgument = "qiao::argument"
)

// reserved are the names that an argument's fields must not have.
var reserved = []string{keyStartTime, keyHost, keyAction, keyFenced, KeyTry, KeyConfirm, KeyCancel, keyArgument}

// Environment is what the action context says beside the argument.
type Environment struct {
	// Action is the resource id.
	Action string
	// Fenced: the branch is recorded in the fence table.
	Fenced bool
	// Functions are the names of the phases' functions, by KeyTry and the like.
	Functions map[string]string
	// Started is when phase one began.
	Started time.Time
}

// hostName is shown to people only.
func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "unknown"
	}
	return host
}

func (e Environment) entries() map[string]any {
	all := map[string]any{
		keyStartTime: e.Started.UnixMilli(),
		keyHost:      hostName(),
		keyAction:    e.Action,
		keyFenced:    e.Fenced,
	}
	for key, function := range e.Functions {
		all[key] = function
	}
	return all
}

// Encode builds a branch's application data: {"actionContext":{...}}.
func Encode(env Environment, arg any) (string, error) {
	raw, err := json.Marshal(arg)
	if err != nil {
		return "", fmt.Errorf("argument of type %T: %w", arg, err)
	}
	entries := env.entries()
	if raw[0] != '{' {
		entries[keyArgument] = json.RawMessage(raw)
	} else {
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(raw, &fields); err != nil {
			return "", fmt.Errorf("argument of type %T: %w", arg, err)
		}
		for name, value := range fields {
			if slices.Contains(reserved, name) {
				return "", fmt.Errorf("argument of type %T: its field %q has a name that Seata uses itself; rename it", arg, name)
			}
			entries[name] = value
		}
	}
	data, err := json.Marshal(map[string]any{keyActionContext: entries})
	return string(data), err
}

// Context is a branch's action context as it was registered.
type Context map[string]json.RawMessage

// Parse reads application data, also that of a Java participant. Missing data
// is an empty context.
func Parse(data string) (Context, error) {
	if data == "" {
		return Context{}, nil
	}
	var outer map[string]json.RawMessage
	if err := json.Unmarshal([]byte(data), &outer); err != nil {
		return nil, fmt.Errorf("application data of the branch: %w", err)
	}
	raw := outer[keyActionContext]
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return Context{}, nil
	}
	var c Context
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("action context of the branch: %w", err)
	}
	return c, nil
}

// Started is when phase one began by the clock of its process; the zero time
// when the context does not tell.
func (c Context) Started() time.Time {
	var ms int64
	if err := json.Unmarshal(c[keyStartTime], &ms); err != nil || ms <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

// Decode reads the argument back. What is missing has its zero value, as a
// missing parameter is null in Java.
func Decode[T any](c Context) (arg T, err error) {
	if whole, ok := c[keyArgument]; ok {
		if err = json.Unmarshal(whole, &arg); err != nil {
			return arg, fmt.Errorf("action context of the branch as %T: %w", arg, err)
		}
		return arg, nil
	}
	if len(c) == 0 {
		return arg, nil
	}
	err = decodeFields(c, &arg, false)
	if err != nil {
		// What a Java participant adds during its try is text, with JSON inside
		// unless it is simple (ActionContextUtil.handleActionContext).
		var other T
		if decodeFields(c, &other, true) == nil {
			return other, nil
		}
		return arg, fmt.Errorf("action context of the branch as %T: %w", arg, err)
	}
	return arg, nil
}

// decodeFields reads the argument out of its fields; unpack reads texts that
// hold JSON as that.
func decodeFields(c Context, arg any, unpack bool) error {
	fields := make(map[string]json.RawMessage, len(c))
	for name, value := range c {
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
