// Package dubbo carries a global transaction over dubbo-go: over the protocols
// dubbo (Hessian2) and triple, in single calls and in streams, between Go and
// Java services.
//
// Job: a consumer filter that sends the XID of a call's context along, a provider
// filter that binds what came along to the handler's context; TCC actions whose
// try is a call of a Dubbo service.
// Owner: the application calls Register when it starts, and names the filters
// where it makes its dubbo-go clients and servers.
// It must not know: connections to a coordinator, or what a transaction does.
//
//	dubbo.Register(dubbo.Config{})
//	cli, err := client.NewClient(client.WithClientFilter(dubbo.ConsumerFilter))
//	err = srv.RegisterService(handler, server.WithFilter(dubbo.ProviderFilters))
//
// The attachments are those of Java Seata's filter (dubbo-filter-seata of the
// Dubbo project), so Java services join as well. It is a module of its own, since
// dubbo-go is heavy. docs/dubbo.md has the whole story, with the traps of dubbo-go.
package dubbo
