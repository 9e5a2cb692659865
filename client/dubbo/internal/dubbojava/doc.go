// Package dubbojava holds client/dubbo against Dubbo Java.
//
// Job: build the service under java/, of Dubbo Java with Seata's stock starter and
// the Dubbo project's own filter for Seata, and have it and a Go service take part
// in each other's transactions, over both protocols, in AT and TCC, with either
// side and the coordinator killed in between.
// Owner: tests only; no program imports it.
// It must not know: how the filters or the coordinator do what they are asked.
//
// Dubbo Java refuses the loopback as its address, so all of it runs in a network
// namespace.
package dubbojava
