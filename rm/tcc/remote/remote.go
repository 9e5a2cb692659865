package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/qiao-tx/qiao/rm"
	"github.com/qiao-tx/qiao/rm/tcc"
	"github.com/qiao-tx/qiao/rm/tcc/barrier"
)

// ErrRefused: the participant answered that it will never do what was asked: 409
// Conflict, or the gRPC status ABORTED. After a try, roll back.
var ErrRefused = errors.New("the participant refuses")

// Config describes the calls of one application.
type Config struct {
	// Name is the resource id: equal in all processes of the application, and in
	// no other. Required; at most 64 bytes.
	Name string
	// Client calls http and https URLs. Its redirects are not followed. Nil means
	// one of this package's own.
	Client *http.Client
	// TLS is for grpcs URLs, and for https without a Client. Nil means defaults.
	TLS *tls.Config
	// TryTimeout ends a try; zero leaves it the transaction's time-out. Timeout
	// ends one call of confirm or cancel; default 10 s. Retry says how these two
	// are repeated; see tcc.Action.
	TryTimeout, Timeout time.Duration
	Retry               tcc.Retry
	// Allow, when not nil, is asked before every URL is called, in all three
	// operations; an error refuses the call. Use it where URLs come from outside.
	Allow func(u *url.URL) error
}

// Call is one call of a participant.
type Call struct {
	// Try, Confirm and Cancel are URLs of the schemes http, https, grpc and grpcs;
	// the latter two, over HTTP/2 without and with TLS, have the form
	// grpc://host:port/package.Service/Method. All required.
	Try     string `json:"try"`
	Confirm string `json:"confirm"`
	Cancel  string `json:"cancel"`
	// Body is sent with all three: by POST over HTTP, as the one message of a
	// unary call over gRPC. A coordinator keeps it, and so bounds it to about 45
	// kB: pass references to what is larger.
	Body []byte `json:"body,omitempty"`
	// ContentType is that of Body over HTTP. Default application/json.
	ContentType string `json:"contentType,omitempty"`
}

func (c Call) validate() error {
	for what, text := range map[string]string{"Try": c.Try, "Confirm": c.Confirm, "Cancel": c.Cancel} {
		if _, err := parse(text); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	return nil
}

func parse(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil {
		return nil, err
	}
	switch u.Scheme {
	case "http", "https", "grpc", "grpcs":
	default:
		return nil, fmt.Errorf("URL %q: its scheme must be http, https, grpc or grpcs", text)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("URL %q: it names no host", text)
	}
	return u, nil
}

// Participants calls services that know no coordinator. It may be used
// concurrently.
type Participants struct {
	cfg    Config
	handle *tcc.Handle[Call]
	web    *http.Client
	grpc   *http.Client
	// transports are those of this package's own.
	transports []*http.Transport
}

// Register makes the application's calls known to the coordinator, which can then
// ask this process to confirm and cancel them. Errors are those of tcc.Register.
func Register(ctx context.Context, c rm.Coordinator, cfg Config) (*Participants, error) {
	if len(cfg.Name) > 64 {
		return nil, fmt.Errorf("register remote participants: Name has %d bytes: at most 64 fit into a fence table", len(cfg.Name))
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	p := &Participants{cfg: cfg}
	p.connect()
	var err error
	p.handle, err = tcc.Register(ctx, c, tcc.Action[Call]{
		Name:       cfg.Name,
		Try:        func(ctx context.Context, c Call) error { return p.try(ctx, c) },
		Confirm:    func(ctx context.Context, c Call) error { return p.end(ctx, barrier.Confirm, c.Confirm, c) },
		Cancel:     func(ctx context.Context, c Call) error { return p.end(ctx, barrier.Cancel, c.Cancel, c) },
		TryTimeout: cfg.TryTimeout, Timeout: cfg.Timeout, Retry: cfg.Retry,
	})
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Participants) connect() {
	own := func(protocols func(*http.Protocols)) *http.Transport {
		t := &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: p.cfg.TLS.Clone(), Protocols: new(http.Protocols),
			MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		}
		protocols(t.Protocols)
		p.transports = append(p.transports, t)
		return t
	}
	p.grpc = &http.Client{Transport: own(func(q *http.Protocols) { q.SetHTTP2(true); q.SetUnencryptedHTTP2(true) })}
	p.web = &http.Client{}
	if p.cfg.Client != nil {
		*p.web = *p.cfg.Client
	} else {
		p.web.Transport = own(func(q *http.Protocols) { q.SetHTTP1(true); q.SetHTTP2(true) })
	}
	for _, c := range []*http.Client{p.web, p.grpc} { // a POST that is redirected may become a GET
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
}

// Close closes idle connections of this package's own. The resource stays
// registered.
func (p *Participants) Close() {
	for _, t := range p.transports {
		t.CloseIdleConnections()
	}
}

type answerKey struct{}

// Call registers a branch of the transaction that ctx carries, calls the
// participant's try in it, and returns what it answered: the body, or the message
// of gRPC. If it fails, the transaction must be rolled back: return the error from
// the function given to tm.Run. Errors are those of tcc.Handle.Try, ErrRefused
// among them. The participant must know repeated, missing and late calls apart by
// the barrier headers.
func (p *Participants) Call(ctx context.Context, c Call) ([]byte, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("call of a remote participant: %w", err)
	}
	var answer []byte
	err := p.handle.Try(context.WithValue(ctx, answerKey{}, &answer), c)
	return answer, err
}

func (p *Participants) try(ctx context.Context, c Call) error {
	body, err := p.ask(ctx, barrier.Try, c.Try, c)
	if answer, ok := ctx.Value(answerKey{}).(*[]byte); ok {
		*answer = body
	}
	return err
}

// end confirms or cancels. A participant that refuses needs a person.
func (p *Participants) end(ctx context.Context, op barrier.Op, target string, c Call) error {
	_, err := p.ask(ctx, op, target, c)
	if errors.Is(err, ErrRefused) {
		return tcc.Unretryable(err)
	}
	return err
}

func (p *Participants) ask(ctx context.Context, op barrier.Op, target string, c Call) ([]byte, error) {
	u, err := parse(target)
	if err == nil && p.cfg.Allow != nil {
		err = p.cfg.Allow(u)
	}
	if err != nil {
		return nil, fmt.Errorf("%s at %s: %w", op, target, err)
	}
	branch, _ := tcc.BranchFrom(ctx)
	b := barrier.Barrier{XID: branch.XID, Branch: branch.ID, Op: op, Action: branch.ResourceID}
	ask := p.askHTTP
	if u.Scheme == "grpc" || u.Scheme == "grpcs" {
		ask = p.askGRPC
	}
	answer, err := ask(ctx, u, b, c)
	if err != nil {
		return answer, fmt.Errorf("%s at %s: %w", op, u.Redacted(), err)
	}
	return answer, nil
}
