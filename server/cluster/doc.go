// Package cluster joins coordinators that share a store.
//
// Job: a link from this node to each other one, over which it speaks for the
// clients connected to it: it announces their resource managers, hands these the
// orders that the other node gives, and forwards requests. The other end of the
// links that come from other nodes.
// Owner: the wiring in cmd/qiao runs the Mesh; server/gateway hands it the
// connections of other nodes.
// It must not know: what a transaction is decided to be, which node leads, who is
// in the list of nodes and why.
//
// A link is an ordinary connection of Seata's protocol to the other node's port,
// and the node at its near end is a client there that speaks for its own clients.
// Whom a message is about, its head map says:
//
//	RegisterTM             to the far end   opens the link: HeadNode, HeadMeant
//	RegisterRM             to the far end   a resource manager, or further resources: HeadChannel, HeadAddress
//	UnregisterRM           to the far end   resources go, or without any the resource manager: HeadChannel
//	BranchCommit, -Rollback  to the near end  an order: HeadChannel
//	its answer             to the far end   HeadUndelivered, when it is none
//	any request            to the far end   of a client: HeadClient, HeadGroup
//
// A node announces only clients that are connected to it, and what comes in over a
// link is never sent on over another one: nothing goes in circles.
package cluster
