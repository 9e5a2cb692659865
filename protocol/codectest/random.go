package codectest

import (
	"math"
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
)

// Random makes random messages.
type Random struct {
	*rand.Rand
	// Wide also takes the values of enumerations that Seata's protobuf codec lacks.
	Wide bool
	// Empty also leaves texts empty, of those that may be: without an XID or a
	// version, Java's seata codec reads no further in a message.
	Empty bool
}

// Message is a message of any type that Java Seata 2.5.0 has, filled at random.
func (r Random) Message() protocol.Message {
	switch r.IntN(12) {
	case 0:
		messages, ids := r.several(func(m protocol.Message) bool { return m.TypeCode()%2 == 1 })
		return &protocol.Merged{Messages: messages, IDs: ids}
	case 1:
		messages, _ := r.several(isTxResult)
		return &protocol.MergedResult{Messages: messages}
	case 2:
		messages, ids := r.several(isTxResult)
		return &protocol.BatchResult{Messages: messages, IDs: ids}
	}
	return r.single()
}

func isTxResult(m protocol.Message) bool {
	return m.TypeCode()%2 == 0 && m.TypeCode() < protocol.TypeMerged
}

func (r Random) single() protocol.Message {
	for {
		all := EveryMessage()
		m := all[r.IntN(len(all))]
		if m.TypeCode() == protocol.TypeUnregisterRM {
			continue // newer than 2.5.0
		}
		r.fill(reflect.ValueOf(m).Elem(), "")
		return m
	}
}

// several is one to twelve messages that fit, with ids.
func (r Random) several(fits func(protocol.Message) bool) (messages []protocol.Message, ids []int32) {
	for range 1 + r.IntN(12) {
		m := r.single()
		for !fits(m) {
			m = r.single()
		}
		messages, ids = append(messages, m), append(ids, r.number())
	}
	return messages, ids
}

func (r Random) fill(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			r.fill(v.Field(i), v.Type().Field(i).Name)
		}
		if result, ok := v.Addr().Interface().(*protocol.Result); ok && result.Code == protocol.ResultSuccess {
			result.Message = "" // success has none in the seata codec
		}
	case reflect.String:
		long := name == "LockKey" || name == "ApplicationData" || name == "ResourceIDs"
		v.SetString(r.text(long, long || name == "ExtraData" || name == "Message" || name == "Name"))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(2)))
	case reflect.Int8:
		v.SetInt(r.enum(v))
	case reflect.Int16:
		v.SetInt(int64(int16(r.number())))
	case reflect.Int32:
		v.SetInt(int64(r.number()))
	default:
		v.SetInt(int64(r.number())<<32 ^ int64(r.number())>>r.IntN(63))
	}
}

// enum is a value of an enumeration.
func (r Random) enum(v reflect.Value) int64 {
	if _, ok := v.Interface().(protocol.BranchStatus); ok && !r.Wide {
		return 1 + r.Int64N(highest(v)) // Java's protobuf codec fails on a report of Unknown
	}
	if _, ok := v.Interface().(protocol.ExceptionCode); ok && !r.Wide {
		if r.IntN(4) == 0 {
			return int64(protocol.ExceptionUnknown)
		}
		lowest := int64(protocol.ExceptionLockKeyConflict)
		code := lowest + r.Int64N(highest(v)-lowest+1)
		if code == int64(protocol.ExceptionFailedLockGlobalTransaction) {
			code++ // Java's protobuf codec fails on it
		}
		return code
	}
	if r.Wide {
		return r.Int64N(highestOfJava(v) + 1)
	}
	return r.Int64N(highest(v) + 1)
}

// highestOfJava is the highest value of an enumeration in Java Seata 2.5.0.
func highestOfJava(v reflect.Value) int64 {
	switch v.Interface().(type) {
	case protocol.GlobalStatus:
		return int64(protocol.StatusStopRollbackOrRollbackRetry)
	case protocol.BranchStatus:
		return int64(protocol.BranchStopRetry)
	case protocol.BranchType:
		return int64(protocol.TypeSagaAnnotation)
	}
	return int64(protocol.ExceptionBroken)
}

// number is one of any size, small and extreme ones more often.
func (r Random) number() int32 {
	switch r.IntN(4) {
	case 0:
		return int32(r.IntN(64) - 32)
	case 1:
		return [...]int32{0, math.MaxInt32, math.MinInt32, -2048, 2047, -262144, 262143, 127, 128}[r.IntN(9)]
	}
	return int32(r.Uint32()) >> r.IntN(31)
}

// text is some characters, up to the limit of a field of two bytes' length, or
// far beyond it for a long one.
func (r Random) text(long, mayBeEmpty bool) string {
	n := 1 + r.IntN(40)
	switch r.IntN(40) {
	case 0:
		n = 1000 + r.IntN(60)
	case 1:
		n = 5000
		if long {
			n = 30_000 + r.IntN(50_000)
		}
	case 2, 3, 4, 5:
		if r.Empty && mayBeEmpty {
			n = 0
		}
	}
	if r.IntN(8) > 0 {
		return strings.Repeat("jdbc:mysql://127.0.0.1/db", n/25+1)[:n]
	}
	var b strings.Builder
	for range n {
		b.WriteRune([]rune("a\x00é桥\ufffd\uffff😀𝄞;:^,")[r.IntN(12)])
	}
	return b.String()
}
