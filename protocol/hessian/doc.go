// Package hessian is Seata's hessian serializer, codec 22 on the wire.
//
// Job: every message of package protocol to a frame body and back, in the part
// of Hessian 2 that Java's HessianSerializer uses for them.
// Owner: protocol/rpc picks it by a frame's codec.
// It must not know: frames, compression, connections, or what a message does.
//
// Hessian lets a body name any class and nest at will. Here a class is one of
// the protocol's own, under one of Java's two package names, or the body is
// refused; lists, numbers and texts are what the fields of those classes need.
//
// The code is ours and not github.com/apache/dubbo-go-hessian2 (tried at v1.13.2)
// because of what that library does with a body that nobody vouches for: it makes
// a slice of as many field names as the body announces, so that eight bytes ask for
// 32 GiB and end the process; it nests without a limit; and it knows classes by a
// registry of the process, which a service that speaks Dubbo fills too.
//
// A text that is absent (null) and one that is empty are the same here, and are
// written as absent. Bodies equal Java's byte for byte, also in the two fields
// that never have a value.
package hessian
