package remote

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/qiao-tx/qiao/rm/tcc/barrier"
)

// A unary call is one message there and one back, each behind five bytes: whether
// it is compressed, and its length. net/http's HTTP/2 is all it needs; grpc-go
// would weigh more than the rest of the SDK.
const grpcPrefix = 5

// statusAborted is the status by which a participant refuses, as in DTM.
const (
	statusOK      = 0
	statusAborted = 10
)

func (p *Participants) askGRPC(ctx context.Context, u *url.URL, b barrier.Barrier, c Call) ([]byte, error) {
	message := make([]byte, grpcPrefix, grpcPrefix+len(c.Body))
	binary.BigEndian.PutUint32(message[1:], uint32(len(c.Body)))
	message = append(message, c.Body...)
	target := *u
	target.Scheme = map[string]string{"grpc": "http", "grpcs": "https"}[u.Scheme]
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	b.Set(r.Header)
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("Te", "trailers")
	if deadline, ok := ctx.Deadline(); ok {
		const most = 99_999_999 // eight digits
		r.Header.Set("Grpc-Timeout", fmt.Sprintf("%dm", min(max(time.Until(deadline).Milliseconds(), 1), most)))
	}
	response, body, err := exchange(p.grpc, r)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s, which no gRPC server does: %s", response.Status, reason(body))
	}
	if err := grpcStatus(response); err != nil {
		return nil, err
	}
	return unframe(body)
}

// grpcStatus reads how the call ended: from the trailers, or from the headers of
// an answer that has nothing else.
func grpcStatus(r *http.Response) error {
	text, message := r.Trailer.Get("Grpc-Status"), r.Trailer.Get("Grpc-Message")
	if text == "" {
		text, message = r.Header.Get("Grpc-Status"), r.Header.Get("Grpc-Message")
	}
	code, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("it answered without a gRPC status: %q", text)
	}
	if plain, err := url.PathUnescape(message); err == nil {
		message = plain
	}
	switch code {
	case statusOK:
		return nil
	case statusAborted:
		return fmt.Errorf("%w: %s", ErrRefused, reason([]byte(message)))
	}
	return fmt.Errorf("it answered with gRPC status %d: %s", code, reason([]byte(message)))
}

// unframe takes the one message out of an answer.
func unframe(body []byte) ([]byte, error) {
	switch {
	case len(body) < grpcPrefix:
		return nil, fmt.Errorf("it answered with %d bytes, which is no gRPC message", len(body))
	case body[0] != 0:
		return nil, errors.New("it answered with a compressed gRPC message, which was not asked for")
	case uint64(binary.BigEndian.Uint32(body[1:])) != uint64(len(body)-grpcPrefix):
		return nil, errors.New("it answered with something else than one gRPC message")
	}
	return body[grpcPrefix:], nil
}
