package remote

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/qiao-tx/qiao/rm/tcc/barrier"
)

// maxAnswer bounds what is read of a participant's answer, and maxReason what of
// it becomes part of an error, in bytes.
const (
	maxAnswer = 4 << 20
	maxReason = 400
)

// askHTTP posts the body. Any 2xx is a yes.
func (p *Participants) askHTTP(ctx context.Context, u *url.URL, b barrier.Barrier, c Call) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(c.Body))
	if err != nil {
		return nil, err
	}
	b.Set(r.Header)
	r.Header.Set("Content-Type", cmp.Or(c.ContentType, "application/json"))
	response, body, err := exchange(p.web, r)
	switch {
	case err != nil:
		return nil, err
	case response.StatusCode/100 == 2:
		return body, nil
	case response.StatusCode == http.StatusConflict:
		return body, fmt.Errorf("%w: %s", ErrRefused, reason(body))
	}
	return body, fmt.Errorf("it answered %s: %s", response.Status, reason(body))
}

// exchange sends a request and reads the whole answer.
func exchange(client *http.Client, r *http.Request) (*http.Response, []byte, error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer: %w", err)
	}
	if len(body) > maxAnswer {
		return nil, nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return response, body, nil
}

// reason is what a participant says of its no, for an error's text.
func reason(body []byte) string {
	return strings.ToValidUTF8(strings.TrimSpace(string(body[:min(len(body), maxReason)])), "")
}
