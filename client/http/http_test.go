package http_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const theXID = "10.0.0.7:8091:42"

// echo answers with the XID that its context carries.
var echo = nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
	fmt.Fprint(w, xid.FromContext(r.Context()))
})

func serve(t *testing.T, cfg qiaohttp.Config) string {
	t.Helper()
	server := httptest.NewServer(qiaohttp.Middleware(echo, cfg))
	t.Cleanup(server.Close)
	return server.URL
}

func do(t *testing.T, c *nethttp.Client, r *nethttp.Request) (int, string) {
	t.Helper()
	response, err := c.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(body)
}

func TestTheTransactionTravels(t *testing.T) {
	url := serve(t, qiaohttp.Config{})
	c := &nethttp.Client{Transport: &qiaohttp.Transport{}}
	for _, x := range []string{theXID, ""} {
		r, err := nethttp.NewRequestWithContext(xid.NewContext(t.Context(), x), "GET", url, nil)
		require.NoError(t, err)
		status, got := do(t, c, r)
		assert.Equal(t, 200, status)
		assert.Equal(t, x, got)
		assert.Empty(t, r.Header, "the caller's request is not changed")
	}
}

func TestTheContextWinsOverAForwardedHeader(t *testing.T) {
	url := serve(t, qiaohttp.Config{})
	r, err := nethttp.NewRequestWithContext(xid.NewContext(t.Context(), theXID), "GET", url, nil)
	require.NoError(t, err)
	r.Header.Set("tx_xid", "10.0.0.7:8091:1")
	r.Header["seata_xid"] = []string{"10.0.0.7:8091:2"}
	status, got := do(t, &nethttp.Client{Transport: &qiaohttp.Transport{}}, r)
	assert.Equal(t, 200, status)
	assert.Equal(t, theXID, got)
}

type roundTripper func(*nethttp.Request) (*nethttp.Response, error)

func (f roundTripper) RoundTrip(r *nethttp.Request) (*nethttp.Response, error) { return f(r) }

func TestTheHeaderIsWrittenAsSeataDoes(t *testing.T) {
	var sent nethttp.Header
	transport := &qiaohttp.Transport{Base: roundTripper(func(r *nethttp.Request) (*nethttp.Response, error) {
		sent = r.Header
		return nil, io.EOF
	})}
	r := (&nethttp.Request{}).WithContext(xid.NewContext(context.Background(), theXID))
	_, err := transport.RoundTrip(r)
	assert.ErrorIs(t, err, io.EOF)
	assert.Equal(t, nethttp.Header{"TX_XID": {theXID}, "TX_BRANCH_TYPE": {"AT"}}, sent)
	assert.Nil(t, r.Header)
}

// TestEveryLetterCase writes the header name by hand: a Go client would make it
// canonical.
func TestEveryLetterCase(t *testing.T) {
	address := serve(t, qiaohttp.Config{})[len("http://"):]
	for _, name := range []string{"TX_XID", "tx_xid", "Tx_Xid", "tX_xId"} {
		conn, err := net.Dial("tcp", address)
		require.NoError(t, err)
		_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h\r\n%s: %s\r\nConnection: close\r\n\r\n", name, theXID)
		require.NoError(t, err)
		response, err := nethttp.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		assert.Equal(t, theXID, string(body), name)
		require.NoError(t, conn.Close())
	}
}

func TestMalformedHeaders(t *testing.T) {
	strict, lenient := serve(t, qiaohttp.Config{}), serve(t, qiaohttp.Config{IgnoreMalformed: true})
	for _, values := range [][]string{{""}, {"nonsense"}, {"h:1:-5"}, {"h:1:x"}, {theXID, "10.0.0.7:8091:1"}, {theXID + ", 10.0.0.7:8091:1"}} {
		request := func(url string) *nethttp.Request {
			r, err := nethttp.NewRequestWithContext(t.Context(), "GET", url, nil)
			require.NoError(t, err)
			r.Header["TX_XID"] = values
			return r
		}
		status, body := do(t, nethttp.DefaultClient, request(strict))
		assert.Equal(t, 400, status, values)
		assert.Contains(t, body, "TX_XID")
		status, body = do(t, nethttp.DefaultClient, request(lenient))
		assert.Equal(t, 200, status)
		assert.Empty(t, body, "outside of any transaction")
	}
}

// A proxy sends what it was sent: other headers, all their values, and the
// response come through, and a header of a caller's own transaction stays.
func TestAProxyInBetween(t *testing.T) {
	var seen nethttp.Header
	inner := httptest.NewServer(qiaohttp.Middleware(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		seen = r.Header.Clone()
		w.Header()["X-Answer"] = []string{"a", "b"}
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(nethttp.StatusTeapot)
		fmt.Fprint(w, xid.FromContext(r.Context()))
		w.Header().Set("X-Sum", "9")
	}), qiaohttp.Config{}))
	t.Cleanup(inner.Close)
	target, err := url.Parse(inner.URL)
	require.NoError(t, err)
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &qiaohttp.Transport{}, // outside of a transaction itself
	})
	t.Cleanup(proxy.Close)

	c := &nethttp.Client{Transport: &qiaohttp.Transport{}}
	r, err := nethttp.NewRequestWithContext(xid.NewContext(t.Context(), theXID), "PUT", proxy.URL, strings.NewReader("body"))
	require.NoError(t, err)
	r.Header["X-Many"] = []string{"1", "2"}
	r.Header.Set("Authorization", "Bearer secret")
	response, err := c.Do(r)
	require.NoError(t, err)
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())

	assert.Equal(t, theXID, string(body))
	assert.Equal(t, nethttp.StatusTeapot, response.StatusCode)
	assert.Equal(t, []string{"a", "b"}, response.Header["X-Answer"])
	assert.Equal(t, "9", response.Trailer.Get("X-Sum"))
	assert.Equal(t, []string{"1", "2"}, seen["X-Many"])
	assert.Equal(t, "Bearer secret", seen.Get("Authorization"))
	c.CloseIdleConnections()
}

// closing counts what reaches it.
type closing struct {
	nethttp.RoundTripper
	closed int
}

func (c *closing) CloseIdleConnections() { c.closed++ }

func TestIdleConnectionsCanBeClosed(t *testing.T) {
	base := &closing{}
	(&nethttp.Client{Transport: &qiaohttp.Transport{Base: base}}).CloseIdleConnections()
	assert.Equal(t, 1, base.closed)
	(&qiaohttp.Transport{Base: roundTripper(nil)}).CloseIdleConnections() // has none to close
}

// Through HTTP/2, where header names are lower case.
func TestOverHTTP2(t *testing.T) {
	server := httptest.NewUnstartedServer(qiaohttp.Middleware(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		fmt.Fprint(w, r.ProtoMajor, " ", xid.FromContext(r.Context()), " ", xid.BranchType(r.Context()))
	}), qiaohttp.Config{}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	ctx := xid.WithBranchType(xid.NewContext(t.Context(), theXID), xid.TypeTCC)
	r, err := nethttp.NewRequestWithContext(ctx, "GET", server.URL, nil)
	require.NoError(t, err)
	_, body := do(t, &nethttp.Client{Transport: &qiaohttp.Transport{Base: server.Client().Transport}}, r)
	assert.Equal(t, "2 "+theXID+" TCC", body)
}

func TestForeignTransactions(t *testing.T) {
	for foreign, want := range map[bool]int{false: 200, true: 400} {
		cfg := qiaohttp.Config{Coordinators: []string{"10.0.0.7:8091"}}
		if foreign {
			cfg.Coordinators = []string{"10.0.0.9:8091"}
		}
		r, err := nethttp.NewRequestWithContext(xid.NewContext(t.Context(), theXID), "GET", serve(t, cfg), nil)
		require.NoError(t, err)
		status, _ := do(t, &nethttp.Client{Transport: &qiaohttp.Transport{}}, r)
		assert.Equal(t, want, status)
	}
}

// A redirected request, which http.Client makes anew, is in the transaction too.
func TestARedirectTakesTheTransactionAlong(t *testing.T) {
	target := serve(t, qiaohttp.Config{})
	moved := httptest.NewServer(nethttp.RedirectHandler(target, nethttp.StatusTemporaryRedirect))
	t.Cleanup(moved.Close)
	r, err := nethttp.NewRequestWithContext(xid.NewContext(t.Context(), theXID), "POST", moved.URL, strings.NewReader("body"))
	require.NoError(t, err)
	status, got := do(t, &nethttp.Client{Transport: &qiaohttp.Transport{}}, r)
	assert.Equal(t, 200, status)
	assert.Equal(t, theXID, got)
}

// What a handler may do with its connection it may do behind the Middleware.
func TestHandlersKeepTheirConnection(t *testing.T) {
	server := httptest.NewServer(qiaohttp.Middleware(nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		assert.NoError(t, nethttp.NewResponseController(w).Flush())
		conn, _, err := nethttp.NewResponseController(w).Hijack()
		if assert.NoError(t, err) {
			_, _ = fmt.Fprint(conn, xid.FromContext(r.Context()))
			assert.NoError(t, conn.Close())
		}
	}), qiaohttp.Config{}))
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: h\r\nTX_XID: %s\r\n\r\n", theXID)
	require.NoError(t, err)
	all, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(all), theXID), "%q", all)
	require.NoError(t, conn.Close())
}
