package tidy

// Room is one package and what it may lean on.
type Room struct {
	// Path is the package's directory in the module.
	Path string
	// Pure rooms have no goroutine, channel, mutex, clock, random source, I/O
	// or log.
	Pure bool
	// Job is the room's one job, for ARCHITECTURE.md.
	Job string
	// Above names the rooms that it may import, and with each of them the rooms
	// that that one may import. Tests may import more.
	Above []string
}

// Rooms is the table of rooms. A package that is not in it fails the test, and
// so does a row without a package. ARCHITECTURE.md shows it (make docs).
//
//tidy:long a table
func Rooms() []Room {
	const pure = true
	return []Room{
		{"protocol", pure, "messages, statuses and result codes as plain values", []string{"protocol/xid"}},
		{"protocol/xid", false, "the XID, its place in a context, its header and attachment keys", nil},
		{"protocol/frame", pure, "the frame: header, cap on its length, head map", nil},
		{"protocol/codec", pure, "what the codecs share: their error, the peer's Java package", []string{"protocol"}},
		{"protocol/native", pure, "the serializer seata (codec 1)", []string{"protocol/codec"}},
		{"protocol/hessian", pure, "the serializer hessian (codec 22)", []string{"protocol/codec"}},
		{"protocol/pb", pure, "the serializer protobuf (codec 2)", []string{"protocol/codec"}},
		{"protocol/codectest", false, "captured and damaged bodies, random messages: tests of codecs",
			[]string{"protocol", "protocol/compress"}},
		{"protocol/compress", false, "compressors by id, with a cap on the decompressed size", nil},
		{"protocol/rpc", false, "one connection over TCP: reader, coalescing writer, reply table, heartbeat",
			[]string{"protocol/native", "protocol/pb", "protocol/hessian", "protocol/compress", "protocol/frame"}},
		{"protocol/rpc/grpc", false, "the same over gRPC: each stream of HTTP/2 a connection of frames", []string{"protocol/rpc"}},
		{"protocol/wiretext", false, "a frame as a JSON object and back, byte for byte; as lines for people", []string{"protocol/rpc"}},

		{"storage", pure, "what a coordinator remembers, Batch, State.Apply, the Store interface", []string{"protocol"}},
		{"storage/memory", false, "the reference store, and the Raft state machine", []string{"storage"}},
		{"storage/raft", false, "the default store: a durable log of Batches over memory, of one node or several", []string{"storage/memory"}},
		{"storage/sqldb", false, "a store on Seata's tables in MySQL, MariaDB or PostgreSQL, for several nodes",
			[]string{"storage", "script/server/db"}},
		{"storage/move", false, "copies what one store holds into another, and compares", []string{"storage"}},
		{"storage/javafile", false, "reads the file store of a Java coordinator", []string{"storage/memory"}},
		{"storage/redis", false, "a store under Seata's keys in Redis, for several nodes, one Lua script a Batch", []string{"storage"}},
		{"script/server/db", false, "the tables of the store in a database", nil},
		{"storage/storetest", false, "the conformance suite: a store is whatever passes it", []string{"storage/memory"}},

		{"server/txn", pure, "the transaction machine: one table of transitions", []string{"storage"}},
		{"server/coordinator", false, "lanes, load, Step, Apply, dispatch, due-loop; owns the clock and the ids", []string{"server/txn"}},
		{"server/peers", false, "who is connected; resource to channel in Seata's order of fallback", []string{"protocol/rpc"}},
		{"server/cluster", false, "links to the other nodes: orders to their clients, requests forwarded",
			[]string{"server/coordinator", "server/peers"}},
		{"server/lead", false, "the leader of a cluster decides, whichever node a client asks", []string{"server/coordinator"}},
		{"server/gateway", false, "accepts on one port, tells protocols apart by first bytes, message to coordinator call",
			[]string{"server/cluster", "protocol/rpc/grpc"}},
		{"server/sim", false, "a seeded world around the production coordinator; the invariant checker",
			[]string{"server/coordinator", "storage/memory"}},
		{"server/servertest", false, "a coordinator inside a test's process, as net/http/httptest is a web server",
			[]string{"server/gateway", "storage/memory"}},
		{"server/config", false, "the server's configuration: parse, validate, defaults", nil},

		{"tm", false, "Run, Begin, Commit, Rollback, Status; propagation, hooks, rules, degrading", []string{"protocol"}},
		{"rm", false, "the Resource interface and what a resource manager asks of the coordinator", []string{"protocol"}},
		{"rm/action", false, "what branches have in common whose phases are functions: argument, time, repetition", []string{"rm"}},
		{"rm/tcc", false, "TCC actions", []string{"rm/action"}},
		{"rm/compensation", false, "business calls with a compensation: Seata's saga annotation mode", []string{"rm/action"}},
		{"rm/tcc/fence", false, "the fence: each phase of an action at most once", []string{"rm/tcc", "rm/compensation"}},
		{"rm/tcc/barrier", false, "for participants without a client: which branch a call is for, and at most once", []string{"rm/tcc/fence"}},
		{"rm/tcc/remote", false, "TCC participants that are only HTTP or gRPC", []string{"rm/tcc/barrier"}},

		{"saga/statelang", pure, "Seata's JSON language of state machines: parse, check, tell where it is wrong", nil},
		{"saga/expression", pure, "the expressions and small scripts of state machines, on github.com/expr-lang/expr", nil},
		{"saga/machine", pure, "what an instance of a state machine does next, and its statuses",
			[]string{"saga/statelang", "saga/expression"}},
		{"saga/javaerror", pure, "errors as Java's serialization writes them", []string{"saga/machine"}},
		{"saga/history", pure, "the log of a saga in code: where a replay stands in it, and whether the code still agrees",
			[]string{"saga/machine"}},
		{"saga/sagalog", false, "the log of sagas in Seata's three tables, its writes grouped; who runs what",
			[]string{"saga/javaerror", "saga/history", "script/client/saga/db"}},
		{"script/client/saga/db", false, "the tables of the log of sagas in a database", nil},
		{"saga/graph", pure, "a picture of a state machine, and of how far an instance came", []string{"saga/machine"}},
		{"saga", false, "the engine: drives instances, calls services, recovers, tells the coordinator",
			[]string{"saga/sagalog", "rm", "protocol/xid"}},
		{"saga/httpservice", false, "services of sagas over HTTP", []string{"saga"}},
		{"saga/grpcservice", false, "services of sagas over gRPC, without generated code", []string{"saga"}},

		{"datasource/schema", pure, "Table, Column, quoting, per dialect", nil},
		{"datasource/sqlparse", pure, "SQL to the small Statement, per dialect", []string{"datasource/schema"}},
		{"datasource/meta", false, "reads and caches the schema of a database", []string{"datasource/schema"}},
		{"datasource/image", pure, "images of rows, their difference, lock keys", []string{"datasource/schema"}},
		{"datasource/undo", pure, "undo records in Java's Jackson form, inverse SQL",
			[]string{"datasource/schema", "datasource/sqlparse", "datasource/image"}},
		{"datasource/wrap", false, "what the wrappers around a driver share: calls, rows, errors", []string{"protocol/xid"}},
		{"datasource/at", false, "AT: the driver.Conn wrapper and its rm.Resource",
			[]string{"rm", "datasource/undo", "datasource/meta", "datasource/wrap", "protocol/compress"}},
		{"datasource/xa", false, "XA: the driver.Conn wrapper, the database's two-phase commit and its rm.Resource",
			[]string{"rm", "datasource/sqlparse", "datasource/wrap"}},
		{"datasource", false, "Open, Wrap and Register around a database/sql driver", []string{"datasource/at", "datasource/xa", "rm"}},

		{"client", false, "connects, joins tm and rm to the wire, hands them out",
			[]string{"tm", "rm", "protocol/rpc", "client/naming"}},
		{"client/naming", false, "finding coordinators: what a registry does; a fixed list, remembered nodes", nil},
		{"client/naming/file", false, "Seata's file registry: nodes from file.conf, .properties, application.yml", []string{"client/naming"}},
		{"client/naming/etcd", false, "Seata's registry in etcd: finding coordinators there, and being listed", []string{"client/naming/file"}},
		{"client/carry", false, "what a call carries of its transaction; how what was received is treated", []string{"protocol/xid"}},
		{"client/grpc", false, "carries the transaction over gRPC, unary and streams", []string{"client/carry"}},
		{"client/dubbo", false, "carries the XID over dubbo-go, and TCC actions called through it; a module of its own",
			[]string{"client/carry", "rm/tcc"}},
		{"client/dubbo/sagaservice", false, "calls the services of sagas over Dubbo, by generic calls", []string{"client/dubbo", "saga"}},
		{"client/dubbo/internal/dubbojava", false, "Dubbo Java and Go in each other's transactions, for tests", nil},
		{"client/http", false, "carries the transaction over net/http", []string{"client/carry"}},
		{"client/gin", false, "carries the transaction into gin's handlers; a module of its own", []string{"client/http"}},
		{"client/connect", false, "carries the transaction over Connect; a module of its own", []string{"client/carry"}},

		{"internal/actiongen", false, "annotated interfaces to the code that registers them, for qiao gen", nil},
		{"internal/load", false, "the load that qiao bench puts on a coordinator, and what it measures",
			[]string{"protocol/rpc", "internal/promtext"}},
		{"internal/pcap", false, "the bytes of TCP connections out of captured packets", nil},
		{"internal/wiretap", false, "the frames in streams of bytes; a proxy that hands out what passes", []string{"protocol/rpc"}},
		{"internal/promtext", false, "reads what a server publishes for Prometheus", nil},
		{"internal/testenv", false, "real servers for tests", nil},
		{"internal/relay", false, "sees, loses and holds back messages between clients and a coordinator, for tests",
			[]string{"protocol/native", "protocol/frame"}},
		{"internal/javapeer", false, "unmodified Java Seata clients, one of them a Spring Boot service, for tests", []string{"internal/testenv"}},
		{"internal/compat", false, "Java clients of eight versions on our coordinator and on Java's; prints docs/compatibility.md", []string{"internal/javapeer"}},
		{"internal/faults", false, "kills real processes in the middle of real transactions, for tests", nil},
		{"internal/javatc", false, "the SDK from end to end on an unmodified Java coordinator and on ours, for tests", nil},
		{"internal/sidebyside", false, "our coordinator and an unmodified Java one on the same tables, for tests", nil},
		{"internal/mutants", false, "mistakes in copies of our own source, each of which a suite must see", nil},
		{"internal/starter", false, "writes the beginning of a service, for qiao new", nil},
		{"internal/failover", false, "kills the leader of a cluster under load; how long nobody could begin",
			[]string{"client", "internal/child", "internal/promtext"}},
		{"internal/tidy", false, "the tree's own test", nil},
		{"internal/child", false, "a program as a process: start, await, kill, end", nil},
		{"internal/demo", false, "the demo: databases, processes, orders, kills, the final account",
			[]string{"samples/shop/service", "internal/child", "internal/promtext"}},
		{"samples/shop/service", false, "the shop in Go: order, stock, account and points, over HTTP, in each mode",
			[]string{"client", "client/http", "datasource", "rm/tcc/fence", "saga", "saga/sagalog"}},
		{"samples/shop/overgrpc", false, "the calls of the shop over gRPC",
			[]string{"samples/shop/service", "samples/shop/overgrpc/shoppb", "client/grpc"}},
		{"samples/shop/overgrpc/shoppb", false, "generated: messages and stubs of the shop's calls over gRPC", nil},
		{"samples/shop/overdubbo", false, "a service of the shop over Dubbo or Triple; a module of its own",
			[]string{"samples/shop/service", "client/dubbo"}},
		{"samples/shop/play", false, "runs a whole shop, shows the path of each transaction, checks the books",
			[]string{"samples/shop/service", "internal/child", "internal/promtext", "internal/wiretap"}},
		{"samples/shop", false, "the shop's command line", []string{"samples/shop/play", "samples/shop/overgrpc"}},
		{"samples/dubbo", false, "the smallest example over dubbo-go; a module of its own",
			[]string{"client", "client/dubbo", "datasource", "rm/tcc/fence"}},
		{"cmd/qiao", false, "wiring only: a file for each subcommand", []string{"*"}},
	}
}
