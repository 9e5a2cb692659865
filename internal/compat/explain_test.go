//go:build linux

package compat

import (
	"fmt"
	"slices"
	"strings"
)

// difference is a line that a client saw otherwise on our coordinator than on
// Java's.
type difference struct {
	version, step, label string
	ours, java           string
}

// explanation says why a difference is there. The first that covers it counts.
type explanation struct {
	text   string
	covers func(difference) bool
}

// oneOf makes a condition on one side of a difference.
func oneOf(side string, values ...string) bool { return slices.Contains(values, side) }

// explanations are numbered as they stand here.
var explanations = []explanation{
	{
		text: "A finished transaction answers with its outcome for three minutes (invariant I10). Java forgets it at once: " +
			"everybody who asks later, and everything asked of it, gets `Finished`, whether it was committed or rolled back.",
		covers: func(d difference) bool {
			return oneOf(d.java, "Finished") && oneOf(d.ours, "Committed", "Rollbacked", "TimeoutRollbacked") &&
				(!strings.HasPrefix(d.label, "commit") || d.ours == "Committed")
		},
	},
	{
		text: "A commit of what is rolled back or rolling back is answered `TimeoutRollbacked` or `TimeoutRollbacking` (invariant I10), " +
			"of which the template of every client from 1.6 on makes an exception. Java answers `Rollbacking` or `RollbackRetrying`, which all clients take for a " +
			"success, or `Finished`, which says nothing of the outcome and is a success to 1.6. As 1.6 looks for these two " +
			"statuses alone, it gets `TimeoutRollbacking` wherever a commit did not commit.",
		covers: func(d difference) bool {
			return strings.Contains(d.label, "commit") && oneOf(d.ours, "TimeoutRollbacked", "TimeoutRollbacking") &&
				oneOf(d.java, "Finished", "Rollbacking", "RollbackRetrying")
		},
	},
	{
		text: "Because of the answers under 1 and 2 Seata's template reports what happened.",
		covers: func(d difference) bool {
			return strings.HasPrefix(d.label, "the business")
		},
	},
	{
		text: "A branch for a transaction that is finished is refused as not active: it is known what became of it. " +
			"Java has forgotten the transaction.",
		covers: func(d difference) bool {
			return d.ours == "Failed GlobalTransactionNotActive" && d.java == "Failed GlobalTransactionNotExist"
		},
	},
	{
		text: "The code of fail-fast is sent in the numbering of the client's version: none before 1.5, where the lock is " +
			"asked for again, 19 in 1.5 to 1.8, 20 from 2.0 on. The Java coordinator 1.8.0 sends 19 to all: 1.4.2 cannot read it " +
			"and waits until its time-out (here past that of the holder's rollback, which fails), and clients from 2.0 on read `NotRaftLeader`.",
		covers: func(d difference) bool {
			return d.step == stepFailFast && (strings.Contains(d.label, "autoCommit=false") || strings.HasPrefix(d.label, "the other's statement") ||
				strings.HasPrefix(d.label, "attempts") || d.version == "1.4.2" && d.label == "its rollback")
		},
	},
	{
		text: "From 2.3 on a client gets one answer for each request of a merged frame, as the Java coordinator 2.5.0 does it " +
			"(captured in `protocol/testdata/seata.jsonl`, and held there by the tests of `server/gateway`); 1.8.0, which is " +
			"older than that rule, merges the answers. The client reads both.",
		covers: func(d difference) bool {
			return d.step == stepMerged && strings.Contains(d.label, "result in") && d.ours == "alone"
		},
	},
	{
		text: "No process may finish the TCC branch. We answer that the commit is decided and being retried. Java fails the request, " +
			"with a code that says nothing, although it has decided the same and goes on.",
		covers: func(d difference) bool {
			return d.step == stepFallback && strings.HasPrefix(d.ours, "CommitRetrying, ordered to: nobody") &&
				strings.HasSuffix(d.java, ", ordered to: nobody")
		},
	},
}

// explained is the number of the explanation of a difference, from 1.
func (d difference) explained() (int, error) {
	for i, e := range explanations {
		if e.covers(d) {
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("nothing explains why client %s, in step %q, saw %q: ours %q, Java's %q", d.version, d.step, d.label, d.ours, d.java)
}

// split takes a line apart into its label and what was seen. Of how a message
// travelled the label is all but the last part.
func split(line string) (label, value string) {
	i := strings.Index(line, ": ")
	if strings.HasPrefix(line, " ") {
		i = strings.LastIndex(line, ": ")
	}
	return line[:i], line[i+2:]
}

// differences compares what one version saw in one step on both coordinators.
func differences(version string, ours, java observed) (all []difference, err error) {
	if ours.step != java.step || len(ours.lines) != len(java.lines) {
		return nil, fmt.Errorf("version %s: step %q and step %q are not of one scenario: run make compat", version, ours.step, java.step)
	}
	for i, line := range ours.lines {
		if line == java.lines[i] {
			continue
		}
		label, o := split(line)
		javaLabel, j := split(java.lines[i])
		if label != javaLabel {
			return nil, fmt.Errorf("version %s, step %q: %q and %q are not of one scenario: run make compat", version, ours.step, line, java.lines[i])
		}
		all = append(all, difference{version, ours.step, label, o, j})
	}
	return all, nil
}
