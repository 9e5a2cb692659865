package txn

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/qiao-tx/qiao/protocol"
	"github.com/qiao-tx/qiao/storage"
)

// The transcripts in testdata are what the machine does, to be read by people:
// each command is an event at a moment (milliseconds), followed by the Batch,
// the effects and the state after them. Run with -rewrite to write them anew.
func TestTranscripts(t *testing.T) {
	datadriven.Walk(t, "testdata/transcripts", func(t *testing.T, path string) {
		x := &transcript{machine: Machine{}.WithDefaults()}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			x.t, x.d = t, d
			return x.run()
		})
	})
}

const testXID = "tc:8091:1"

type transcript struct {
	t       *testing.T
	d       *datadriven.TestData
	machine Machine
	state   storage.State
	out     strings.Builder
}

// run carries out one command. "new" forgets the transaction; "parallel" has
// branches of different resources ordered at once; "status" writes a status that
// this machine does not; all others are events.
func (x *transcript) run() string {
	x.out.Reset()
	if x.d.Cmd == "new" {
		x.state = storage.State{}
		return ""
	}
	if x.d.Cmd == "parallel" {
		x.machine.Parallel = true
		return ""
	}
	if x.state.XID == "" {
		x.state.XID = testXID
	}
	if x.d.Cmd == "status" {
		x.state.Global.Status = x.globalStatus("is")
		x.printState()
		return x.out.String()
	}
	batch, effects, err := x.machine.Step(x.state, int64(x.number("at", 0)), x.event())
	if err != nil {
		return err.Error()
	}
	if batch != nil {
		x.printBatch(batch)
		next, err := x.state.Apply(batch)
		if err != nil {
			return err.Error()
		}
		x.state = next
	}
	for _, e := range effects {
		x.printEffect(e)
	}
	if batch != nil {
		x.printState()
	}
	if x.out.Len() == 0 {
		return "nothing"
	}
	return x.out.String()
}

func (x *transcript) event() Event {
	switch x.d.Cmd {
	case "begin":
		return Begin{XID: testXID, ID: 1, ApplicationID: "app", Group: "group",
			Name: x.text("name", "order"), TimeoutMillis: int32(x.number("timeout", 60_000))}
	case "register":
		return x.register()
	case "report":
		return Report{BranchID: int64(x.number("branch", 0)), Status: x.branchStatus(x.text("status", "")), ApplicationData: x.text("data", "")}
	case "commit":
		return Commit{}
	case "rollback":
		return Rollback{}
	case "saga-report":
		return SagaReport{Status: x.globalStatus("status")}
	case "answers":
		return Answers{Rollback: x.d.HasArg("rollback"), Answers: x.answers()}
	case "tick":
		return Tick{Forced: x.d.HasArg("forced")}
	}
	x.d.Fatalf(x.t, "no such command")
	return nil
}

func (x *transcript) register() Register {
	typ := x.text("type", "AT")
	e := Register{
		ID: int64(x.number("branch", 0)), ResourceID: x.text("resource", "db"), ClientID: "app:10.0.0.9:5000",
		LockKey: x.text("locks", ""), RequestKey: x.text("key", ""), ApplicationData: x.text("data", ""), Type: 99,
	}
	for _, known := range []protocol.BranchType{protocol.TypeAT, protocol.TypeTCC, protocol.TypeSaga, protocol.TypeXA, protocol.TypeSagaAnnotation} {
		if known.String() == typ {
			e.Type = known
		}
	}
	if n := x.number("data-bytes", 0); n > 0 {
		e.ApplicationData = strings.Repeat("x", n)
	}
	return e
}

// answers reads lines of "branch status reason".
func (x *transcript) answers() []Answer {
	var all []Answer
	for line := range strings.SplitSeq(x.d.Input, "\n") {
		id, rest, _ := strings.Cut(line, " ")
		status, reason, _ := strings.Cut(rest, " ")
		n, err := strconv.ParseInt(id, 10, 64)
		if err != nil {
			x.d.Fatalf(x.t, "want branch, status, reason: %q", line)
		}
		all = append(all, Answer{BranchID: n, Status: x.branchStatus(status), Reason: reason})
	}
	return all
}

func (x *transcript) text(arg, otherwise string) string {
	for _, a := range x.d.CmdArgs {
		if a.Key == arg {
			return strings.Join(a.Vals, ",")
		}
	}
	return otherwise
}

func (x *transcript) number(arg string, otherwise int) int {
	n, err := strconv.Atoi(x.text(arg, strconv.Itoa(otherwise)))
	if err != nil {
		x.d.Fatalf(x.t, "%s is no number", arg)
	}
	return n
}

func (x *transcript) globalStatus(arg string) protocol.GlobalStatus {
	name := x.text(arg, "")
	for s := protocol.StatusUnKnown; s <= protocol.StatusStopRollbackOrRollbackRetry; s++ {
		if s.String() == name {
			return s
		}
	}
	x.d.Fatalf(x.t, "no global status %q", name)
	return 0
}

func (x *transcript) branchStatus(name string) protocol.BranchStatus {
	for s := range protocol.BranchStatus(127) {
		if s.String() == name {
			return s
		}
	}
	x.d.Fatalf(x.t, "no branch status %q", name)
	return 0
}

func (x *transcript) printf(format string, args ...any) { fmt.Fprintf(&x.out, format, args...) }

func (x *transcript) printBatch(b *storage.Batch) {
	x.printf("batch at %d on revision %d:", b.At, b.Revision)
	if b.Global != nil {
		x.printf(" global")
	}
	for i := range b.Add {
		x.printf(" add %d", b.Add[i].ID)
	}
	for _, c := range b.Change {
		x.printf(" change %d to %s", c.ID, c.Status)
		if c.ApplicationData != nil {
			x.printf(" with %q", *c.ApplicationData)
		}
	}
	if len(b.Unlock) > 0 {
		x.printf(" unlock %d", b.Unlock)
	}
	if b.UnlockAll {
		x.printf(" unlock all")
	}
	if len(b.Remove) > 0 {
		x.printf(" remove %d", b.Remove)
	}
	if b.Finish != nil {
		x.printf(" finish %s until %d", b.Finish.Outcome, b.Finish.ExpiresAt)
	}
	x.printf("\n")
}

func (x *transcript) printEffect(e Effect) {
	switch e := e.(type) {
	case Reply:
		switch {
		case e.Refused != nil:
			x.printf("refuse %s: %s\n", e.Refused.Code, e.Refused.Message)
		case e.BranchID != 0:
			x.printf("reply %s branch %d\n", e.Status, e.BranchID)
		default:
			x.printf("reply %s\n", e.Status)
		}
	case Wait:
		x.printf("wait\n")
	case Settled:
		x.printf("settled %s\n", e.Status)
	case Decided:
		x.printf("decided %s\n", e.Status)
	case Ended:
		x.printf("%s\n", strings.TrimSpace(fmt.Sprintf("ended %s %s", e.Status, e.Evidence)))
	case Send:
		verb := "commit"
		if e.Rollback {
			verb = "rollback"
		}
		for _, o := range e.Orders {
			anyApplication := ""
			if o.AnyApplication {
				anyApplication = " any application"
			}
			x.printf("order %s of branch %d: %s %s data %.40q client %q%s\n",
				verb, o.BranchID, o.Type, o.ResourceID, o.ApplicationData, o.ClientID, anyApplication)
		}
	}
}

func (x *transcript) printState() {
	s := &x.state
	if s.Finished() {
		x.printf("= finished %s\n", s.Outcome)
		return
	}
	g := &s.Global
	x.printf("= %s due %d attempts %d", g.Status, g.DueAt, g.Attempts)
	if g.Evidence != "" {
		x.printf(" evidence %q", g.Evidence)
	}
	x.printf("\n")
	for i := range s.Branches {
		b := &s.Branches[i]
		x.printf("  branch %d %s %s", b.ID, b.Type, b.Status)
		if b.Locked {
			x.printf(" locks %s", b.LockKey)
		}
		x.printf("\n")
	}
}
