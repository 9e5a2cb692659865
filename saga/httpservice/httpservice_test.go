package httpservice_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/qiao-tx/qiao/saga"
	"github.com/qiao-tx/qiao/saga/httpservice"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shop answers in all ways.
func shop(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/shop/text":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte("hello"))
	case "/shop/sniffed":
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write([]byte(` {"ok": 2}`))
	case "/shop/nothing":
		w.WriteHeader(http.StatusNoContent)
	case "/shop/soldout":
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"exception": "com.example.SoldOut", "message": "none left"}`))
	case "/shop/gateway":
		w.WriteHeader(http.StatusGatewayTimeout)
	case "/shop/missing":
		w.WriteHeader(http.StatusNotFound)
	case "/shop/odd":
		_, _ = w.Write([]byte(`{`))
	case "/shop/big":
		_, _ = w.Write(make([]byte, 2000))
	default:
		_, _ = w.Write([]byte(`{"ok": 1}`))
	}
}

func TestCalls(t *testing.T) {
	var seen *http.Request
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		seen, body = r.Clone(t.Context()), string(text)
		shop(w, r)
	}))
	defer server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	i := httpservice.New(httpservice.Config{Client: client, MaxBody: 1000, Services: map[string]string{"shop": server.URL + "/shop"}})
	cases := []struct {
		service, method string
		input           []any
		request, body   string
		result          any
		class           string
		noAnswer        bool
	}{
		{"shop", "/reserve", []any{map[string]any{"n": 1}}, "POST /shop/reserve", `{"n":1}`, map[string]any{"ok": json.Number("1")}, "", false},
		{"shop", "PUT /a/b?x=1", []any{"p", 2}, "PUT /shop/a/b?x=1", `["p",2]`, map[string]any{"ok": json.Number("1")}, "", false},
		{"shop", "GET item", []any{map[string]any{"id": "桥", "n": 2}}, "GET /shop/item?id=%E6%A1%A5&n=2", "", map[string]any{"ok": json.Number("1")}, "", false},
		{server.URL, "", nil, "POST /", "{}", map[string]any{"ok": json.Number("1")}, "", false},
		{"shop", "text", nil, "POST /shop/text", "{}", "hello", "", false},
		{"shop", "sniffed", nil, "POST /shop/sniffed", "{}", map[string]any{"ok": json.Number("2")}, "", false},
		{"shop", "nothing", nil, "POST /shop/nothing", "{}", nil, "", false},
		{"shop", "soldout", nil, "POST /shop/soldout", "{}", nil, "com.example.SoldOut", false},
		{"shop", "missing", nil, "POST /shop/missing", "{}", nil, "HTTP 404", false},
		{"shop", "gateway", nil, "POST /shop/gateway", "{}", nil, "HTTP 504", true},
		{"shop", "odd", nil, "POST /shop/odd", "{}", nil, "", true},
		{"unknown", "x", nil, "", "", nil, "java.lang.IllegalArgumentException", false},
	}
	for _, c := range cases {
		t.Run(c.service+" "+c.method, func(t *testing.T) {
			seen, body = nil, ""
			v, err := i.Invoke(t.Context(), saga.Request{Service: c.service, Method: c.method, Input: c.input,
				Call: saga.Call{Instance: "i", XID: "127.0.0.1:8091:7", State: "Größe", Key: "i:1", Compensates: "i:0"}})
			assert.Equal(t, c.result, v)
			if c.request != "" {
				require.NotNil(t, seen)
				assert.Equal(t, c.request, seen.Method+" "+seen.URL.String())
				assert.Equal(t, c.body, body)
				assert.Equal(t, "SAGA", seen.Header.Get("TX_BRANCH_TYPE"))
				assert.Equal(t, []string{"127.0.0.1:8091:7", "i:1", "i", "Gr%C3%B6%C3%9Fe", "i:0"}, []string{seen.Header.Get("TX_XID"), seen.Header.Get("Idempotency-Key"),
					seen.Header.Get("Qiao-Saga"), seen.Header.Get("Qiao-Saga-State"), seen.Header.Get("Qiao-Saga-Compensates")})
			}
			if c.class == "" && !c.noAnswer {
				require.NoError(t, err)
				return
			}
			var e *saga.Exception
			require.True(t, errors.As(err, &e), "%v", err)
			assert.Equal(t, c.class, e.Class)
			assert.Equal(t, c.noAnswer, e.NoAnswer)
		})
	}
	_, err := i.Invoke(t.Context(), saga.Request{Service: "shop", Method: "big"})
	assert.ErrorContains(t, err, "more than 1000 bytes")
}
