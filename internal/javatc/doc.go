// Package javatc runs the SDK from end to end on an unmodified Java coordinator.
//
// Job: tell the same stories (AT, TCC with the fence, time-outs, lost messages,
// a killed coordinator) to Apache Seata's coordinator and to ours, with the same
// expected outcomes; where the two differ, the story says so and why.
// Owner: tests only; no program imports it.
// It must not know: how either coordinator works inside.
package javatc
