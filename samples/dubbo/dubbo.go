package main

import (
	"fmt"
	"net"

	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common/constant"
	"dubbo.apache.org/dubbo-go/v3/common/extension"
	_ "dubbo.apache.org/dubbo-go/v3/filter/accesslog"
	_ "dubbo.apache.org/dubbo-go/v3/filter/echo"
	_ "dubbo.apache.org/dubbo-go/v3/filter/exec_limit"
	_ "dubbo.apache.org/dubbo-go/v3/filter/generic"
	_ "dubbo.apache.org/dubbo-go/v3/filter/graceful_shutdown"
	_ "dubbo.apache.org/dubbo-go/v3/filter/token"
	_ "dubbo.apache.org/dubbo-go/v3/filter/tps"
	"dubbo.apache.org/dubbo-go/v3/global"
	"dubbo.apache.org/dubbo-go/v3/protocol"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/dubbo"
	_ "dubbo.apache.org/dubbo-go/v3/protocol/triple"
	_ "dubbo.apache.org/dubbo-go/v3/proxy/proxy_factory"
	"dubbo.apache.org/dubbo-go/v3/server"
	getty "github.com/apache/dubbo-getty"
	"github.com/dubbogo/gost/log/logger"

	qiaodubbo "github.com/qiao-tx/qiao/client/dubbo"
)

// quiet leaves dubbo-go's loggers, which are talkative, to errors.
func quiet() {
	logger.SetLoggerLevel("fatal")
	_ = getty.SetLoggerLevel(getty.LoggerLevelError) // fails for a logger that is not its own
}

// remote is where a service is to be called: a connection and dubbo-go's name for
// the protocol.
type remote struct {
	protocol, address string
}

// application keeps dubbo-go's metadata service from listening on every interface,
// which it does without a registry.
func application() *global.ApplicationConfig {
	return &global.ApplicationConfig{Name: "sample", MetadataType: constant.RemoteMetadataStorageType}
}

// serve publishes handlers by their interfaces on a free port of the loopback.
func serve(rpc string, handlers map[string]any) (remote, error) {
	at, option := remote{protocol: constant.TriProtocol}, protocol.WithTriple()
	if rpc == "dubbo" {
		at.protocol, option = constant.DubboProtocol, protocol.WithDubbo()
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return at, err
	}
	at.address = listener.Addr().String()
	port := listener.Addr().(*net.TCPAddr).Port
	if err := listener.Close(); err != nil { // dubbo-go wants a port, not a listener
		return at, err
	}
	srv, err := server.NewServer(
		server.SetServerApplication(application()),
		server.WithServerProtocol(option.(protocol.ServerOption), protocol.WithIp("127.0.0.1"), protocol.WithPort(port)),
		server.WithServerSerialization(constant.Hessian2Serialization),
		server.WithServerFilter(qiaodubbo.ProviderFilters), // handlers join the caller's transaction
	)
	if err != nil {
		return at, err
	}
	for name, handler := range handlers {
		if err := srv.RegisterService(handler, server.WithInterface(name)); err != nil {
			return at, fmt.Errorf("publish %s: %w", name, err)
		}
	}
	extension.GetProtocol(at.protocol) // dubbo-go makes it at its first use, without a lock: not in a goroutine beside clients
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve() }() // until the process ends: dubbo-go's servers have no end of their own
	return at, at.await(ended)
}

// await returns when the server answers.
func (r remote) await(ended <-chan error) error {
	for {
		if conn, err := net.Dial("tcp", r.address); err == nil {
			return conn.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("the Dubbo server ended: %w", err)
		default:
		}
	}
}

// withoutIDL tells dubbo-go that there is no generated code. Over dubbo it could have
// functions for the methods; over triple calls go through the Connection.
type withoutIDL struct{}

// dial returns a connection whose calls take the transaction along.
func (r remote) dial(name string) (*client.Connection, error) {
	cli, err := client.NewClient(client.SetClientApplication(application()),
		client.WithClientFilter(qiaodubbo.ConsumerFilter)) // calls take the transaction along
	if err != nil {
		return nil, err
	}
	return cli.NewService(&withoutIDL{}, client.WithInterface(name), client.WithURL(r.protocol+"://"+r.address),
		client.WithProtocol(r.protocol), client.WithSerialization(constant.Hessian2Serialization))
}
