// Package codectest holds codecs against what Java Seata sent, and against damage.
//
// Job: captured bodies with what Java read in them, messages of every kind,
// random ones, and damaged bytes.
// Owner: tests of codecs.
// It must not know: any codec.
package codectest

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/qiao-tx/qiao/protocol"
)

// EveryMessage is one empty message of every type that has a body and holds no
// others. The answers to registrations are left out: how much of one is sent
// depends on the codec.
func EveryMessage() []protocol.Message {
	return []protocol.Message{
		&protocol.RegisterTM{}, &protocol.RegisterRM{}, &protocol.UnregisterRM{},
		&protocol.GlobalBegin{}, &protocol.GlobalBeginResult{},
		&protocol.GlobalCommit{}, &protocol.GlobalCommitResult{},
		&protocol.GlobalRollback{}, &protocol.GlobalRollbackResult{},
		&protocol.GlobalStatusRequest{}, &protocol.GlobalStatusResult{},
		&protocol.GlobalReport{}, &protocol.GlobalReportResult{},
		&protocol.GlobalLockQuery{}, &protocol.GlobalLockQueryResult{},
		&protocol.BranchRegister{}, &protocol.BranchRegisterResult{},
		&protocol.BranchReport{}, &protocol.BranchReportResult{},
		&protocol.BranchCommit{}, &protocol.BranchCommitResult{},
		&protocol.BranchRollback{}, &protocol.BranchRollbackResult{},
		&protocol.UndoLogDelete{},
	}
}

// Fill gives every field of m a value of its own, or at least one that every
// codec has and that is not empty.
func Fill(m protocol.Message) {
	var n int64
	fill(reflect.ValueOf(m).Elem(), &n)
}

func fill(v reflect.Value, n *int64) {
	*n++
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case reflect.String:
		v.SetString(strings.Repeat("é", int(*n)))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(0) // a result code: only a failure has a message
	case reflect.Int8: // an enumeration
		v.SetInt(highest(v)/2 + *n%2)
	default:
		v.SetInt(*n)
	}
}

// highest is the highest value of an enumeration that every codec has.
func highest(v reflect.Value) int64 {
	switch v.Interface().(type) {
	case protocol.GlobalStatus:
		return int64(protocol.StatusFinished)
	case protocol.BranchStatus:
		return int64(protocol.BranchPhaseTwoRollbackFailedUnretryable)
	case protocol.BranchType:
		return int64(protocol.TypeSaga)
	case protocol.ExceptionCode:
		return int64(protocol.ExceptionFailedStore)
	}
	panic(fmt.Sprintf("%T has no range yet", v.Interface()))
}

// EachDamage calls f with every truncation of body, every flip of one bit, and
// every byte set to 0x00, 0x7f and 0xff, and returns how often.
func EachDamage(body []byte, f func(damaged []byte)) int {
	for n := range body {
		f(body[:n])
	}
	for i, was := range body {
		for bit := range 8 {
			body[i] = was ^ 1<<bit
			f(body)
		}
		for _, value := range []byte{0x00, 0x7f, 0xff} {
			body[i] = value
			f(body)
		}
		body[i] = was
	}
	return (1 + 8 + 3) * len(body)
}
