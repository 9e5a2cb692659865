package shop

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Refusals are answers, not failures.
var (
	errNoStock = errors.New("no stock")
	errNoMoney = errors.New("no money")
)

// How the services answer over HTTP, beside 200.
const (
	// StatusRefused: the reason is in the body; nothing has changed.
	StatusRefused = http.StatusConflict
	// StatusFailed: nothing has changed; it may work at another time.
	StatusFailed = http.StatusServiceUnavailable
	// StatusUnknown: it may have worked.
	StatusUnknown = http.StatusInternalServerError

	maxBody = 1 << 16
)

// handle makes an HTTP handler of a function with one argument, sent as JSON.
func handle[T any](do func(context.Context, T) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var argument T
		if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&argument); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := do(r.Context(), argument); err != nil {
			http.Error(w, err.Error(), statusOf(err))
		}
	})
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, errNoStock), errors.Is(err, errNoMoney):
		return StatusRefused
	case unknown(err):
		return StatusUnknown
	default:
		return StatusFailed
	}
}

// peer is another service of the shop.
type peer struct {
	url  string
	http *http.Client
}

func (p peer) call(ctx context.Context, path string, argument any) error {
	body, err := json.Marshal(argument)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := p.http.Do(req)
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
	for _, refusal := range []error{errNoStock, errNoMoney} {
		if resp.StatusCode == StatusRefused && string(bytes.TrimSpace(text)) == refusal.Error() {
			return refusal
		}
	}
	return fmt.Errorf("%s%s: %s: %s", p.url, path, resp.Status, bytes.TrimSpace(text))
}

// changedOne wants a statement to have changed a row, and else answers the refusal.
func changedOne(result sql.Result, err, refusal error) error {
	if err != nil {
		return err
	}
	n, err := result.RowsAffected()
	if err == nil && n == 0 {
		return refusal
	}
	return err
}
