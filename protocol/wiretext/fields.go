package wiretext

import (
	"fmt"
	"iter"
	"math"
	"reflect"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
)

// names are the fields of package protocol whose name on the wire, as Seata's
// classes have it, is not theirs in lower camel case. Fields of two types are
// named after what they hold.
var names = map[string]string{
	"XID":           "xid",
	"IDs":           "msgIds",
	"Code":          "resultCode",
	"Message":       "msg",
	"Exception":     "transactionExceptionCode",
	"Group":         "txServiceGroup",
	"TimeoutMillis": "timeoutMs",
}

var namesByType = map[reflect.Type]string{
	reflect.TypeFor[protocol.BranchType]():   "branchType",
	reflect.TypeFor[protocol.BranchStatus](): "branchStatus",
	reflect.TypeFor[protocol.GlobalStatus](): "globalStatus",
}

// nameOf is the wire's name of a field.
func nameOf(f reflect.StructField) string {
	if name, ok := namesByType[f.Type]; ok {
		return name
	}
	if name, ok := names[f.Name]; ok {
		return name
	}
	name := strings.ToLower(f.Name[:1]) + f.Name[1:]
	name = strings.Replace(name, "IDs", "Ids", 1)
	return strings.Replace(name, "ID", "Id", 1)
}

// fields yields the fields of a message, by name, those of embedded structs in
// their place.
func fields(m protocol.Message) iter.Seq2[string, reflect.Value] {
	return func(yield func(string, reflect.Value) bool) {
		walk(reflect.ValueOf(m).Elem(), yield)
	}
}

func walk(v reflect.Value, yield func(string, reflect.Value) bool) bool {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch {
		case field.Anonymous:
			if !walk(v.Field(i), yield) {
				return false
			}
		case !yield(nameOf(field), v.Field(i)):
			return false
		}
	}
	return true
}

// isList tells whether the field holds messages.
func isList(v reflect.Value) bool { return v.Type() == reflect.TypeFor[[]protocol.Message]() }

// nameOfValue is the name that package protocol has for a value of one of its
// enumerations; it is "" for other fields and for values without a name.
func nameOfValue(v reflect.Value) string {
	s, ok := v.Interface().(fmt.Stringer)
	if !ok {
		return ""
	}
	name := s.String()
	if _, err := strconv.Atoi(name); err == nil {
		return ""
	}
	return name
}

// setByName sets a value of an enumeration from its name, in any letter case.
func setByName(v reflect.Value, name string) error {
	if _, ok := v.Interface().(fmt.Stringer); !ok {
		return fmt.Errorf("%q is no number", name)
	}
	valid := make([]string, 0, 32)
	probe := reflect.New(v.Type()).Elem()
	for n := range math.MaxInt8 {
		setNumber(probe, int64(n))
		known := nameOfValue(probe)
		if strings.EqualFold(known, name) && known != "" {
			v.Set(probe)
			return nil
		}
		if known != "" {
			valid = append(valid, known)
		}
	}
	return fmt.Errorf("%q is none of %s, nor a number", name, strings.Join(valid, ", "))
}

// setNumber sets an integer of any size, and tells whether n fits.
func setNumber(v reflect.Value, n int64) bool {
	if v.CanUint() {
		if n < 0 || v.OverflowUint(uint64(n)) {
			return false
		}
		v.SetUint(uint64(n))
		return true
	}
	if v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

// typeByName is the type code with the name, in any letter case, or the number.
func typeByName(name string) (protocol.TypeCode, error) {
	if n, err := strconv.ParseInt(name, 10, 16); err == nil {
		return protocol.TypeCode(n), nil
	}
	for code := range protocol.TypeCode(math.MaxInt8) {
		if strings.EqualFold(code.String(), name) {
			return code, nil
		}
	}
	return 0, fmt.Errorf("there is no message type %q", name)
}

// newMessage returns an empty message of the type.
func newMessage(code protocol.TypeCode) (protocol.Message, error) {
	if code == protocol.TypeHeartbeat {
		return new(protocol.Heartbeat), nil
	}
	if m := protocol.New(code); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("there is no message of type %v", code)
}
