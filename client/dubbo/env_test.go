package dubbo_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"dubbo.apache.org/dubbo-go/v3/client"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/cluster/failover"
	_ "dubbo.apache.org/dubbo-go/v3/cluster/loadbalance/random"
	"dubbo.apache.org/dubbo-go/v3/common"
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
	"github.com/dubbogo/gost/log/logger"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/client/dubbo"
)

func TestMain(m *testing.M) {
	logger.SetLoggerLevel("fatal")
	for _, p := range transports() { // dubbo-go makes it at its first use, without a lock
		extension.GetProtocol(p.name)
	}
	dubbo.Register(dubbo.Config{})
	code := m.Run()
	// Connections of triple are pinged now and then, by goroutines of a timer.
	found := goleak.Find(goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*ClientConn).healthCheck"))
	if left := leaked(found); code == 0 && len(left) > 0 {
		fmt.Fprintln(os.Stderr, "goroutines are left that were started by", left)
		code = 1
	}
	os.Exit(code)
}

// ofDubbo starts goroutines that dubbo-go ends never, or only with the process:
// servers, connections of both protocols, pools, timers.
var ofDubbo = regexp.MustCompile(`^(dubbo\.apache\.org/|github\.com/apache/dubbo-getty|github\.com/dubbogo/gost|` +
	`golang\.org/x/net/http2|net/http\.|github\.com/qiao-tx/qiao/client/dubbo_test\.start$)`)

// leaked are the starters of all other goroutines that goleak found.
func leaked(found error) (starters []string) {
	for _, line := range regexp.MustCompile(`(?m)^created by (\S+)`).FindAllStringSubmatch(fmt.Sprint(found), -1) {
		if !ofDubbo.MatchString(line[1]) {
			starters = append(starters, line[1])
		}
	}
	return starters
}

// transport is one of the two protocols of dubbo-go.
type transport struct {
	name   string
	server protocol.Option
	client []client.ReferenceOption
}

func transports() []transport {
	return []transport{
		{constant.DubboProtocol, protocol.WithDubbo(), []client.ReferenceOption{
			client.WithProtocolDubbo(), client.WithSerialization(constant.Hessian2Serialization)}},
		{constant.TriProtocol, protocol.WithTriple(), []client.ReferenceOption{
			client.WithProtocolTriple(), client.WithSerialization(constant.Hessian2Serialization)}},
	}
}

func onEachTransport(t *testing.T, test func(t *testing.T, p transport)) {
	t.Helper()
	for _, p := range transports() {
		t.Run(p.name, func(t *testing.T) { test(t, p) })
	}
}

// with registers filters of that configuration for what test makes.
func with(t *testing.T, cfg dubbo.Config, test func()) {
	t.Helper()
	dubbo.Register(cfg)
	defer dubbo.Register(dubbo.Config{})
	test()
}

// application keeps dubbo-go's metadata service from listening on every interface.
func application() *global.ApplicationConfig {
	return &global.ApplicationConfig{Name: "test", MetadataType: constant.RemoteMetadataStorageType}
}

// serve publishes handler as the test's own interface and returns its address.
// dubbo-go's servers end with the process.
func (p transport) serve(t *testing.T, handler any, info *common.ServiceInfo, opts ...server.ServiceOption) string {
	t.Helper()
	address := freeAddress(t)
	srv := p.newServer(t, address)
	opts = append([]server.ServiceOption{server.WithInterface(p.iface(t)), server.WithFilter(dubbo.ProviderFilters)}, opts...)
	var err error
	if info != nil {
		err = srv.Register(handler, info, opts...)
	} else {
		err = srv.RegisterService(handler, append(opts, server.WithSerialization(constant.Hessian2Serialization))...)
	}
	require.NoError(t, err)
	start(t, srv, address)
	return address
}

func (p transport) newServer(t *testing.T, address string, opts ...server.ServerOption) *server.Server {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	number, err := strconv.Atoi(port)
	require.NoError(t, err)
	srv, err := server.NewServer(append([]server.ServerOption{server.SetServerApplication(application()),
		server.WithServerProtocol(p.server.(protocol.ServerOption), protocol.WithIp(host), protocol.WithPort(number))}, opts...)...)
	require.NoError(t, err)
	return srv
}

func start(t *testing.T, srv *server.Server, address string) {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve() }()
	for {
		select {
		case err := <-ended:
			require.NoError(t, err)
			t.Fatal("the server ended")
		case <-t.Context().Done():
			return
		default:
		}
		if conn, err := net.DialTimeout("tcp", address, time.Second); err == nil {
			require.NoError(t, conn.Close())
			return
		}
		runtime.Gosched()
	}
}

// iface names the interface that a test serves. dubbo-go keeps every interface it
// has served until the process ends, and so a test that is run again needs another.
func (p transport) iface(t *testing.T) string {
	number, _ := interfaces.LoadOrStore(t, served.Add(1))
	return fmt.Sprintf("test.%s.%d", strings.ReplaceAll(t.Name(), "/", "."), number)
}

var (
	interfaces sync.Map
	served     atomic.Int64
)

// callTimeout bounds what should take no time at all.
const callTimeout = 10 * time.Second

// remote calls the test's interface at one address.
type remote struct{ conn *client.Connection }

// withoutIDL tells dubbo-go that there is no generated code.
type withoutIDL struct{}

func (p transport) dial(t *testing.T, address string, opts ...client.ReferenceOption) remote {
	t.Helper()
	cli, err := client.NewClient(client.SetClientApplication(application()))
	require.NoError(t, err)
	all := append([]client.ReferenceOption{client.WithInterface(p.iface(t)), client.WithURL(p.name + "://" + address), client.WithFilter(dubbo.ConsumerFilter)}, p.client...)
	conn, err := cli.NewService(&withoutIDL{}, append(all, opts...)...)
	require.NoError(t, err)
	return remote{conn}
}

// call is a unary call.
func (r remote) call(ctx context.Context, reply any, method string, args ...any) error {
	return r.conn.CallUnary(ctx, args, reply, method, client.WithCallRequestTimeout(callTimeout))
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}
