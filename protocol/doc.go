// Package protocol is the vocabulary of the Seata protocol: messages, statuses
// and codes as plain values.
//
// Job: name what travels between transaction managers, resource managers and
// coordinators, with the numbers that Apache Seata 2.5.0 gives them.
// Owner: every room that speaks of transactions imports it.
// It must not know: how a message is framed, serialized, sent or acted upon.
package protocol
