// Package machine decides what an instance of a state machine does next.
//
// Job: a compiled definition and the log of an instance give the rows to write
// and then the calls to make; the statuses that Seata's engine would give; what
// is compensated and in which order; which errors are tried again.
// Owner: saga drives an Execution and is the only one that acts on its Steps.
// It must not know: clocks, databases, networks, coordinators.
//
// A Step's Batch is made durable before its Calls begin, so the log always knows
// of a call that may have happened. Resume continues from nothing but the log.
// The statuses follow org.apache.seata.saga.engine (StatusDecisionStrategy,
// ServiceTaskHandlerInterceptor, TaskStateRouter, CompensationHolder).
package machine
