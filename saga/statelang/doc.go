// Package statelang reads Seata's JSON language of state machines.
//
// Job: text to a Machine, or a list of Problems that each name the JSON path,
// the line and the remedy; the rules that hold of every machine.
// Owner: saga registers what it parses; cmd/qiao prints the Problems.
// It must not know: expressions, how a machine is run, where it is kept.
//
// The language is that of org.apache.seata.saga.statelang.parser: its state
// types, keys and defaults, and the layout that Seata's designer saves (an
// object with nodes and edges), which becomes a Machine too.
package statelang
