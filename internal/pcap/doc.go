// Package pcap takes the bytes of TCP connections out of captured packets.
//
// Job: read pcap and pcapng files, find TCP in their packets, put its segments
// in order.
// Owner: qiao frame decode.
// It must not know: what is in the bytes.
package pcap
