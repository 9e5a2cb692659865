// Package http carries a global transaction over net/http.
//
// Job: a Transport that adds the transaction of a request's context to its
// headers, and a Middleware that gives the handler a context in the transaction
// of the headers.
// Owner: the application wraps its http.Client and its handlers.
// It must not know: connections to a coordinator, or what a transaction does.
//
// The headers are Seata's TX_XID and TX_BRANCH_TYPE, so Java services join as
// well. Some proxies drop headers with an underscore unless told otherwise (nginx:
// underscores_in_headers on; Envoy: headers_with_underscores_action ALLOW).
package http

import (
	"context"
	nethttp "net/http"

	"github.com/qiao-tx/qiao/client/carry"
	"github.com/qiao-tx/qiao/protocol/xid"
)

// Transport is a RoundTripper that joins the services it calls to the global
// transaction of the request's context. A request without one is passed on as
// it is, and so is every other header and every response. A redirect that
// http.Client follows takes the transaction along, to whichever host it names: set
// CheckRedirect where that may be one that must not take part. The zero value uses
// http.DefaultTransport.
type Transport struct {
	// Base sends the requests. Nil means http.DefaultTransport.
	Base nethttp.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *nethttp.Request) (*nethttp.Response, error) {
	call, ok := carry.From(r.Context())
	if !ok {
		return t.base().RoundTrip(r)
	}
	r = r.Clone(r.Context()) // a RoundTripper must not change its request
	if r.Header == nil {
		r.Header = make(nethttp.Header, 2)
	}
	for name := range r.Header { // in whatever case the caller wrote it
		if carry.IsKey(name) {
			delete(r.Header, name)
		}
	}
	r.Header[xid.Key] = []string{call.XID} // in the case that Seata writes
	r.Header[xid.KeyBranchType] = []string{call.BranchType}
	return t.base().RoundTrip(r)
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach Base.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *Transport) base() nethttp.RoundTripper {
	if t.Base == nil {
		return nethttp.DefaultTransport
	}
	return t.Base
}

// Config says how a Middleware treats what it reads.
type Config = carry.Policy

// Middleware returns a handler that calls next with a context in the transaction
// of the request's headers, which it reads in any letter case. A request without
// one reaches next as it is. One that cannot be joined is answered with status 400
// and the reason, or reaches next outside of any transaction, as cfg says. The XID
// is believed: let only callers reach next who may take part in transactions.
func Middleware(next nethttp.Handler, cfg Config) nethttp.Handler {
	return nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		ctx, err := Join(r, cfg)
		if err != nil {
			nethttp.Error(w, err.Error(), nethttp.StatusBadRequest)
			return
		}
		if ctx != r.Context() {
			r = r.WithContext(ctx)
		}
		next.ServeHTTP(w, r)
	})
}

// Join returns the context for the handler of a request, for routers that have a
// form of middleware of their own. The request must be refused on an error, which
// is one of Policy.Join's.
func Join(r *nethttp.Request, cfg Config) (ctx context.Context, err error) {
	var received carry.Received
	for name, values := range r.Header {
		received.Add(name, values)
	}
	return cfg.Join(r.Context(), &received)
}
