package tcc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"
)

// Keys of the action context that Java Seata writes beside the action's own
// parameters, and the key of the action context in the application data.
const (
	keyActionContext = "actionContext"
	keyStartTime     = "action-start-time"
	keyHost          = "host-name"
	keyAction        = "actionName"
	keyFenced        = "useTCCFence"
	keyTry           = "sys::prepare"
	keyConfirm       = "sys::commit"
	keyCancel        = "sys::rollback"
	// keyArgument holds an argument that is not a JSON object; it is ours.
	keyArgument = "qiao::argument"
)

// environment is what the action context says beside the argument.
type environment struct {
	action  string
	fenced  bool
	host    string
	started time.Time
}

func (e environment) entries() map[string]any {
	return map[string]any{
		keyStartTime: e.started.UnixMilli(),
		keyHost:      e.host,
		keyAction:    e.action,
		keyFenced:    e.fenced,
		keyTry:       "try",
		keyConfirm:   "confirm",
		keyCancel:    "cancel",
	}
}

// encode builds a branch's application data: {"actionContext":{...}}.
func encode(env environment, arg any) (string, error) {
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
			if _, taken := entries[name]; taken || name == keyArgument {
				return "", fmt.Errorf("argument of type %T: its field %q has a name that Seata uses itself; rename it", arg, name)
			}
			entries[name] = value
		}
	}
	data, err := json.Marshal(map[string]any{keyActionContext: entries})
	return string(data), err
}

// decode reads the argument back, also from data that a Java participant wrote.
// Missing data gives the zero value, as a missing parameter gives null in Java.
func decode[T any](data string) (T, error) {
	var arg T
	if data == "" {
		return arg, nil
	}
	var outer map[string]json.RawMessage
	if err := json.Unmarshal([]byte(data), &outer); err != nil {
		return arg, fmt.Errorf("application data of the branch: %w", err)
	}
	raw := outer[keyActionContext]
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return arg, nil
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(raw, &entries); err != nil {
		return arg, fmt.Errorf("action context of the branch: %w", err)
	}
	if whole, ok := entries[keyArgument]; ok {
		raw = whole
	} else {
		for name := range (environment{}).entries() {
			delete(entries, name)
		}
		stripped, err := json.Marshal(entries)
		if err != nil {
			return arg, fmt.Errorf("action context of the branch: %w", err)
		}
		raw = stripped
	}
	if err := json.Unmarshal(raw, &arg); err != nil {
		return arg, fmt.Errorf("action context of the branch as %T: %w", arg, err)
	}
	return arg, nil
}
