// Package httpservice calls the services of sagas over HTTP.
//
// Job: a state's call as a request with a JSON body, the answer as its result or
// as an error that Catch and Retry can name.
// Owner: the application puts an Invoker into saga.Config.Invokers, under the
// ServiceType that its machines use.
// It must not know: states, instances, the log.
package httpservice

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/qiao-tx/qiao/protocol/xid"
	"github.com/qiao-tx/qiao/saga"
)

// Headers that every request has beside the XID's.
const (
	// HeaderKey is saga.Call.Key: equal for all calls of one run of a state.
	HeaderKey = "Idempotency-Key"
	// HeaderInstance, HeaderState and HeaderCompensates are the fields of saga.Call.
	HeaderInstance    = "Qiao-Saga"
	HeaderState       = "Qiao-Saga-State"
	HeaderCompensates = "Qiao-Saga-Compensates"
)

// Config says how services are reached.
type Config struct {
	// Client makes the requests. Default: one of our own that keeps up to 256
	// connections to a host open.
	Client *http.Client
	// Services are the base URLs of services by their ServiceName. A name that is
	// missing here must be a URL itself.
	Services map[string]string
	// MaxBody bounds an answer. Default 1 MiB.
	MaxBody int64
}

// Invoker calls services over HTTP.
//
// ServiceName is a key of Config.Services or a URL. ServiceMethod is a path, or a
// method of HTTP and a path ("PUT /orders"); the default is POST. One Input is the
// JSON body as it is, several are a list; a GET or DELETE sends the keys of one
// Input as the query. 2xx is success, with the body as the result: JSON, or text
// if its type says so and it is no object or list of JSON. Other answers are errors: their class is "HTTP 409" (and
// "HTTP 4xx"), or what a JSON body says in "exception", with the text in "message".
type Invoker struct {
	cfg Config
}

// New returns an Invoker.
func New(cfg Config) *Invoker {
	if cfg.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.MaxIdleConns, transport.MaxIdleConnsPerHost = 1024, 256
		cfg.Client = &http.Client{Transport: transport}
	}
	if cfg.MaxBody <= 0 {
		cfg.MaxBody = 1 << 20
	}
	return &Invoker{cfg: cfg}
}

// Invoke implements saga.Invoker.
func (i *Invoker) Invoke(ctx context.Context, r saga.Request) (any, error) {
	request, err := i.request(ctx, r)
	if err != nil {
		return nil, &saga.Exception{Class: "java.lang.IllegalArgumentException", Message: err.Error(), Cause: err}
	}
	response, err := i.cfg.Client.Do(request)
	if err != nil {
		return nil, err // classified by what it wraps
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, i.cfg.MaxBody+1))
	switch {
	case err != nil:
		return nil, &saga.Exception{Class: "java.io.IOException", Message: "read the answer: " + err.Error(), NoAnswer: true, Cause: err}
	case int64(len(body)) > i.cfg.MaxBody:
		return nil, fmt.Errorf("%s %s: an answer of more than %d bytes", request.Method, request.URL, i.cfg.MaxBody)
	case response.StatusCode/100 != 2:
		return nil, refusal(request, response, body)
	}
	return result(response, body)
}

func (i *Invoker) request(ctx context.Context, r saga.Request) (*http.Request, error) {
	base := r.Service
	if known, ok := i.cfg.Services[r.Service]; ok {
		base = known
	}
	target, err := url.Parse(base)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, fmt.Errorf("service %q: want an http or https URL, or a name in httpservice.Config.Services", r.Service)
	}
	method, path := http.MethodPost, r.Method
	if verb, rest, found := strings.Cut(r.Method, " "); found {
		method, path = strings.ToUpper(verb), strings.TrimSpace(rest)
	}
	relative, query, _ := strings.Cut(path, "?")
	if relative != "" {
		target = target.JoinPath(relative)
	}
	target.RawQuery = query
	var body []byte
	if bodyless := method == http.MethodGet || method == http.MethodDelete; bodyless {
		target.RawQuery = withQuery(target.Query(), r.Input).Encode()
	} else if body, err = encode(r.Input); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	setHeaders(request.Header, r.Call)
	return request, nil
}

func setHeaders(h http.Header, c saga.Call) {
	h.Set("Accept", "application/json")
	if c.XID != "" {
		h.Set(xid.Key, c.XID)
		h.Set(xid.KeyBranchType, xid.TypeSaga)
	}
	h.Set(HeaderKey, c.Key)
	h.Set(HeaderInstance, c.Instance)
	h.Set(HeaderState, url.PathEscape(c.State))
	if c.Compensates != "" {
		h.Set(HeaderCompensates, c.Compensates)
	}
}

func encode(input []any) ([]byte, error) {
	switch len(input) {
	case 0:
		return []byte("{}"), nil
	case 1:
		return json.Marshal(input[0])
	}
	return json.Marshal(input)
}

// withQuery adds the keys of the first input to a query.
func withQuery(q url.Values, input []any) url.Values {
	if len(input) > 0 {
		m, _ := input[0].(map[string]any)
		for key, v := range m {
			if s, ok := v.(string); ok {
				q.Set(key, s)
			} else if text, err := json.Marshal(v); err == nil {
				q.Set(key, string(text))
			}
		}
	}
	return q
}

func result(response *http.Response, body []byte) (any, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, nil
	}
	first := bytes.TrimSpace(body)[0]
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/") && (first != '{' && first != '[' || !json.Valid(body)) {
		return string(body), nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, &saga.Exception{Message: "the answer is no JSON: " + err.Error(), NoAnswer: true, Cause: err}
	}
	return v, nil
}

// refusal is the error of an answer that is no success.
func refusal(request *http.Request, response *http.Response, body []byte) error {
	code := strconv.Itoa(response.StatusCode)
	e := &saga.Exception{Class: "HTTP " + code, Also: []string{"HTTP " + code[:1] + "xx"}}
	var said struct{ Exception, Message string }
	if errors.Join(json.Unmarshal(body, &said)) == nil && said.Exception != "" {
		e.Class, e.Also = said.Exception, append(e.Also, e.Class)
	}
	e.Message = said.Message
	if e.Message == "" {
		e.Message = fmt.Sprintf("%s %s: %s: %.200s", request.Method, request.URL.Redacted(), response.Status, body)
	}
	// A gateway that had no answer in time does not know what the service did.
	e.NoAnswer = response.StatusCode == http.StatusGatewayTimeout || response.StatusCode == http.StatusBadGateway
	return e
}
