// Package lead has the leader of a cluster decide, whichever node a client is
// connected to.
//
// Job: run a coordinator while this node leads, one for each leadership; pass
// requests on to the leader otherwise, and let them wait a while when there is none;
// ask again what may be asked again.
// Owner: the wiring in cmd/qiao; server/gateway and server/cluster give it requests.
// It must not know: how a leader is elected, how requests get to another node, what
// a transaction is decided to be.
package lead
