// Package remote makes TCC participants of services that are only HTTP or gRPC
// and know no coordinator, in whatever language.
//
// Job: register a branch for a call; call the participant's try, and its confirm
// or cancel when the transaction ends; tell it by headers which branch and
// operation that is (package rm/tcc/barrier).
// Owner: a service that has a client; its processes finish each other's calls.
// It must not know: what a participant does, SQL, or who decides.
//
// The URLs and the body of a call travel in the branch's application data, so
// that any process of the application can confirm and cancel after a crash.
package remote
