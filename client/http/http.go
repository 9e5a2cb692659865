// Package http carries a global transaction over net/http.
//
// Job: a Transport that adds the XID of a request's context as a header, and a
// Middleware that puts the XID of a header into the context of the handler.
// Owner: the application wraps its http.Client and its handlers.
// It must not know: connections to a coordinator, or what a transaction does.
//
// The header is Seata's TX_XID, so Java services join as well. Some proxies drop
// headers with an underscore unless told otherwise (nginx: underscores_in_headers
// on).
package http

import (
	"fmt"
	nethttp "net/http"
	"net/textproto"
	"strings"

	"github.com/qiao-tx/qiao/protocol/xid"
)

// Transport is a RoundTripper that joins the services it calls to the global
// transaction of the request's context. A request without one is passed on as
// it is. The zero value uses http.DefaultTransport.
type Transport struct {
	// Base sends the requests. Nil means http.DefaultTransport.
	Base nethttp.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *nethttp.Request) (*nethttp.Response, error) {
	base := t.Base
	if base == nil {
		base = nethttp.DefaultTransport
	}
	x := xid.FromContext(r.Context())
	if x == "" {
		return base.RoundTrip(r)
	}
	r = r.Clone(r.Context()) // a RoundTripper must not change its request
	if r.Header == nil {
		r.Header = make(nethttp.Header, 1)
	}
	for name := range r.Header { // in whatever case the caller wrote it
		if strings.EqualFold(name, xid.Key) {
			delete(r.Header, name)
		}
	}
	r.Header[xid.Key] = []string{x} // in the case that Seata writes
	return base.RoundTrip(r)
}

// Config says how a Middleware treats what it reads.
type Config struct {
	// IgnoreMalformed: a request whose header is no XID, or is there twice, is
	// handled outside of any transaction. Otherwise it is answered with status
	// 400, because the caller believes that it takes part in one.
	IgnoreMalformed bool
}

// Middleware returns a handler that calls next with a context that carries the
// XID of the request's TX_XID header, in any letter case. A request without the
// header reaches next as it is. The XID is believed: let only callers reach
// next who may take part in transactions.
func Middleware(next nethttp.Handler, cfg Config) nethttp.Handler {
	return nethttp.HandlerFunc(func(w nethttp.ResponseWriter, r *nethttp.Request) {
		x, err := fromHeader(r.Header)
		switch {
		case err != nil && !cfg.IgnoreMalformed:
			nethttp.Error(w, err.Error(), nethttp.StatusBadRequest)
			return
		case err == nil && x != "":
			r = r.WithContext(xid.NewContext(r.Context(), x))
		}
		next.ServeHTTP(w, r)
	})
}

// fromHeader returns the XID in h, or "". A server's header names are canonical.
func fromHeader(h nethttp.Header) (string, error) {
	values := h[textproto.CanonicalMIMEHeaderKey(xid.Key)]
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", fmt.Errorf("header %s is there %d times; send it once", xid.Key, len(values))
	}
	if _, _, err := xid.Parse(values[0]); err != nil {
		return "", fmt.Errorf("header %s: %w", xid.Key, err)
	}
	return values[0], nil
}
