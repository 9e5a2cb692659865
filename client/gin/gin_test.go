package gin_test

import (
	"context"
	"fmt"
	"io"
	nethttp "net/http"
	"net/http/httptest"
	"sync"
	"testing"

	gogin "github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/qiao-tx/qiao/client/carry"
	qiaogin "github.com/qiao-tx/qiao/client/gin"
	qiaohttp "github.com/qiao-tx/qiao/client/http"
	"github.com/qiao-tx/qiao/protocol/xid"
)

const theXID = "10.0.0.7:8091:42"

func serve(t *testing.T, p carry.Policy) (url string) {
	t.Helper()
	gogin.SetMode(gogin.TestMode)
	router := gogin.New()
	router.Use(qiaogin.Middleware(p))
	router.GET("/", func(c *gogin.Context) {
		ctx := c.Request.Context()
		c.String(200, "%s %s", xid.FromContext(ctx), xid.BranchType(ctx))
	})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	return server.URL
}

func get(ctx context.Context, url string, header nethttp.Header) (int, string, error) {
	r, err := nethttp.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := (&nethttp.Client{Transport: &qiaohttp.Transport{}}).Do(r)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, string(body), err
}

func TestTheTransactionTravels(t *testing.T) {
	url := serve(t, carry.Policy{})
	in := xid.NewContext(t.Context(), theXID)
	for want, ctx := range map[string]context.Context{
		" ": t.Context(), theXID + " AT": in, theXID + " TCC": xid.WithBranchType(in, xid.TypeTCC),
	} {
		status, got, err := get(ctx, url, nil)
		require.NoError(t, err)
		assert.Equal(t, 200, status)
		assert.Equal(t, want, got)
	}
}

// gin uses its contexts again: no request sees another's transaction.
func TestRequestsDoNotSeeEachOther(t *testing.T) {
	url := serve(t, carry.Policy{})
	var callers sync.WaitGroup
	for i := range 16 {
		callers.Go(func() {
			for n := range 20 {
				ctx, want := t.Context(), " "
				if n%2 == 0 {
					x := xid.New("tc:1", int64(i*100+n+1))
					ctx, want = xid.NewContext(ctx, x), x+" AT"
				}
				_, got, err := get(ctx, url, nil)
				if !assert.NoError(t, err) || !assert.Equal(t, want, got) {
					return
				}
			}
		})
	}
	callers.Wait()
}

func TestWhatCannotBeJoined(t *testing.T) {
	allowed := []string{"10.0.0.7:8091"}
	strict, lenient := serve(t, carry.Policy{Coordinators: allowed}), serve(t, carry.Policy{Coordinators: allowed, IgnoreMalformed: true})
	for _, bad := range []nethttp.Header{
		{"TX_XID": {"100%s"}}, {"Tx_xid": {""}}, {"TX_XID": {theXID, "10.0.0.7:8091:1"}}, {"TX_XID": {"10.0.0.9:8091:1"}},
	} {
		status, got, err := get(t.Context(), strict, bad)
		require.NoError(t, err)
		assert.Equal(t, 400, status, bad)
		assert.Contains(t, got, "TX_XID", fmt.Sprint(bad))
		status, got, err = get(t.Context(), lenient, bad)
		require.NoError(t, err)
		assert.Equal(t, 200, status)
		assert.Equal(t, " ", got)
	}
}
