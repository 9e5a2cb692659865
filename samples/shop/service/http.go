package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	qiaohttp "github.com/qiao-tx/qiao/client/http"
)

// How the services answer over HTTP, beside 200.
const (
	// StatusRefused: the reason is in the body; nothing has changed, or it is being
	// undone.
	StatusRefused = http.StatusConflict
	// StatusFailed: nothing has changed, or it is being undone; it may work at another
	// time.
	StatusFailed = http.StatusServiceUnavailable
	// StatusUnknown: it may have worked.
	StatusUnknown = http.StatusInternalServerError

	maxBody = 1 << 16
)

// HTTP carries calls as POST requests with JSON bodies. It is a Transport.
type HTTP struct{}

// Serve implements Transport.
func (HTTP) Serve(ctx context.Context, address string, own Calls) error {
	mux := http.NewServeMux()
	publish(mux, "/take", own.Take)
	publish(mux, "/putBack", own.PutBack)
	publish(mux, "/debit", own.Debit)
	publish(mux, "/refund", own.Refund)
	publish(mux, "/award", own.Award)
	publish(mux, "/revoke", own.Revoke)
	// The Middleware lets the handlers take part in the caller's transaction.
	return serve(ctx, address, qiaohttp.Middleware(mux, qiaohttp.Config{}))
}

// Dial implements Transport.
func (HTTP) Dial(_ context.Context, to Addresses) (Calls, func() error, error) {
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.MaxIdleConnsPerHost = 256 // for many orders at once
	// The Transport takes the transaction along to the services called.
	web := &http.Client{Transport: &qiaohttp.Transport{Base: base}}
	hangUp := func() error { base.CloseIdleConnections(); return nil }
	return Calls{
		Take:    post[Taking](web, "http://"+to.Stock+"/take"),
		PutBack: post[Taking](web, "http://"+to.Stock+"/putBack"),
		Debit:   post[Debit](web, "http://"+to.Account+"/debit"),
		Refund:  post[Debit](web, "http://"+to.Account+"/refund"),
		Award:   post[Award](web, "http://"+to.Points+"/award"),
		Revoke:  post[Award](web, "http://"+to.Points+"/revoke"),
	}, hangUp, nil
}

// serveCustomers takes orders over HTTP, whatever carries the calls that follow.
func serveCustomers(ctx context.Context, address string, place func(context.Context, Order) error) error {
	mux := http.NewServeMux()
	publish(mux, "/orders", place)
	return serve(ctx, address, mux)
}

// publish makes a function with one argument, sent as JSON, an HTTP handler.
func publish[T any](mux *http.ServeMux, path string, do func(context.Context, T) error) {
	if do == nil {
		return
	}
	mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		var argument T
		if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&argument); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := do(r.Context(), argument); err != nil {
			answer(w, err)
		}
	})
}

func answer(w http.ResponseWriter, err error) {
	text, status := err.Error(), StatusFailed
	if refusal := RefusalIn(err); refusal != nil {
		text, status = refusal.Error(), StatusRefused
	} else if unknown(err) {
		status = StatusUnknown
	}
	http.Error(w, text, status)
}

// post is the other end of publish.
func post[T any](web *http.Client, url string) func(context.Context, T) error {
	return func(ctx context.Context, argument T) error {
		body, err := json.Marshal(argument)
		if err != nil {
			return err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		resp, err := web.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
		text, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		if err != nil {
			return err
		}
		reason := string(bytes.TrimSpace(text))
		if refusal := Refusal(reason); resp.StatusCode == StatusRefused && refusal != nil {
			return refusal
		}
		return fmt.Errorf("%s: %s: %s", url, resp.Status, reason)
	}
}

// serve answers on the address until ctx ends and requests under way are done.
func serve(ctx context.Context, address string, handler http.Handler) error {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	stop := context.AfterFunc(ctx, func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	})
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		stop()
		return err
	}
	return <-stopped
}
