package http_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	nethttp "net/http"
	"net/http/httptest"
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
	assert.Equal(t, nethttp.Header{"TX_XID": {theXID}}, sent)
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
	for _, values := range [][]string{{""}, {"nonsense"}, {"h:1:-5"}, {"h:1:x"}, {theXID, theXID}, {theXID, "10.0.0.7:8091:1"}} {
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
