// Package expression evaluates the expressions of Seata's state machines.
//
// Job: the part of Spring's expression language that state machines use, and the
// small Groovy scripts of a ScriptTask, translated for github.com/expr-lang/expr.
// Owner: saga/machine compiles a machine's expressions with it, saga its scripts.
// It must not know: states, instances, services.
//
// A text says which kind it is by its beginning, as
// org.apache.seata.saga.engine.expression.impl.DefaultExpressionResolver reads
// it: $.… and anything without a leading $ is an expression, $Sequence.… asks for
// a new id, $Exception{…} matches an error by its class.
//
// Values are those of encoding/json, with whole numbers as int64: an expression
// gives the same result on variables that were just set and on those that were
// read back from the log.
package expression
