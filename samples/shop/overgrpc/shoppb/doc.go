// Package shoppb is generated from samples/shop/proto/shop.proto.
//
// Job: the messages and stubs of the shop's calls over gRPC.
// Owner: samples/shop/overgrpc.
// It must not know: anything; it is generated, with protoc, protoc-gen-go v1.36.12
// and protoc-gen-go-grpc v1.5.1.
package shoppb

//go:generate protoc -I ../../proto --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative shop.proto
