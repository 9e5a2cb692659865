package play

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/qiao-tx/qiao/samples/shop/service"
)

// The shop before the first order.
var (
	stockAtFirst   = map[string]int64{"lamp": 100}
	balanceAtFirst = map[string]int64{"ann": 1000, "bob": 50_000, "carl": 5}
)

const (
	price = 20 // of a lamp

	// Answers that a customer gets.
	placed  = "placed"
	failed  = "failed"
	unknown = "unknown"
	// A refusal is the answer that begins with this word.
	refused = "refused: "
)

// scene is one order of the story.
type scene struct {
	tale     string
	customer string
	lamps    int64
	// want is the answer that the customer should get.
	want string
	// victim is a service that is killed: before the order, or else when the
	// account service begins its part. It is started again after the answer.
	victim string
	before bool
}

// scenes are the whole story.
func scenes(mode service.Mode, kill bool) []scene {
	story := []scene{
		{tale: "ann orders two lamps", customer: "ann", lamps: 2, want: placed},
		{tale: "bob orders more lamps than there are", customer: "bob", lamps: 500, want: refused + service.ErrNoStock.Error()},
		{tale: "carl cannot pay; the stock service has already taken his lamp", customer: "carl", lamps: 1, want: refused + service.ErrNoMoney.Error()},
	}
	if kill {
		story = append(story,
			theStockDies(mode),
			scene{tale: "kill -9 of the points service before an order", customer: "ann", lamps: 1, want: failed, victim: "points", before: true},
		)
	}
	if kill && mode == service.Saga {
		story = append(story, scene{tale: "kill -9 of the order service in the middle of its saga: it goes on when it is back", customer: "ann", lamps: 1, want: unknown, victim: "order"})
	}
	return append(story, scene{tale: "ann orders once more", customer: "ann", lamps: 1, want: placed})
}

// theStockDies has the stock service killed when it has done its first part. In a
// saga there is a second one only if the order fails: it waits for the service.
func theStockDies(mode service.Mode) scene {
	if mode == service.Saga {
		return scene{tale: "carl cannot pay; kill -9 of the stock service before it can put his lamp back", customer: "carl", lamps: 1, want: refused + service.ErrNoMoney.Error(), victim: "stock"}
	}
	return scene{tale: "kill -9 of the stock service between its two phases", customer: "ann", lamps: 3, want: placed, victim: "stock"}
}

// Order is an order of the story and what came of it.
type Order struct {
	Number int64  `json:"number"`
	Tale   string `json:"tale"`
	Answer string `json:"answer"`
	// Reason is why it failed.
	Reason  string `json:"reason,omitempty"`
	Outcome string `json:"outcome"` // of its transaction
	Path    Path   `json:"transaction"`

	order service.Order
}

const (
	// settleTimeout is how long the second phases and what follows may take.
	settleTimeout = 60 * time.Second
	// A customer whose order fails although every service runs, since one of them
	// is not connected again yet, orders again.
	attempts = 60
	pause    = 500 * time.Millisecond
)

// perform plays a scene and returns its orders: one, or more when it had to be
// repeated.
func (s *show) perform(ctx context.Context, sc scene) ([]Order, error) {
	var orders []Order
	for {
		o, err := s.place(ctx, sc)
		if err != nil {
			return orders, err
		}
		orders = append(orders, o)
		if o.Answer == failed && sc.want == placed && sc.victim == "" && len(orders) < attempts {
			fmt.Fprintf(s.out, "\norder %d  %s: %s, %s; a service is not connected again yet (%s)\n", o.Number, o.Tale, o.Answer, o.Outcome, o.Reason)
			if err := sleep(ctx, pause); err != nil {
				return orders, err
			}
			continue
		}
		printOrder(s.out, o)
		if o.Answer != sc.want {
			return orders, fmt.Errorf("order %d (%s) is %s (%s); want it %s", o.Number, sc.tale, o.Answer, o.Reason, sc.want)
		}
		return orders, nil
	}
}

// place places one order and waits until its transaction has ended.
func (s *show) place(ctx context.Context, sc scene) (Order, error) {
	s.number++
	o := Order{Number: s.number, Tale: sc.tale, order: service.Order{
		Number: s.number, Customer: sc.customer, Item: "lamp", Quantity: sc.lamps, Price: sc.lamps * price,
	}}
	before, _, err := s.watch.since(0)
	if err != nil {
		return o, err
	}
	if err := s.readyToDie(ctx, sc.victim); err != nil {
		return o, err
	}
	kill := make(chan error, 1)
	switch {
	case sc.victim == "":
	case sc.before:
		kill <- s.fleet.services[sc.victim].Kill()
	default:
		s.watch.at("account", func() { kill <- s.fleet.services[sc.victim].Kill() })
	}
	if o.Answer, o.Reason, err = s.post(ctx, o.order); err != nil {
		if sc.victim != "order" || ctx.Err() != nil {
			return o, err
		}
		o.Answer, o.Reason = unknown, err.Error() // nobody is left to answer
	}
	if sc.victim != "" {
		if s.watch.waits() {
			return o, fmt.Errorf("the %s service was not killed: order %d is %s (%s) before the account service had a part in it", sc.victim, o.Number, o.Answer, o.Reason)
		}
		if err := <-kill; err != nil {
			return o, err
		}
		if err := s.fleet.services[sc.victim].Start(ctx); err != nil {
			return o, err
		}
	}
	o.Path, err = s.settled(ctx, len(before))
	o.Outcome = o.Path.Outcome()
	return o, err
}

// readyToDie waits until a service has deleted its undo records. A Java service
// does so a second after it has said that a branch is committed: killed in
// between it leaves the record behind, for Seata's daily clean-up.
func (s *show) readyToDie(ctx context.Context, victim string) error {
	for victim != "" {
		var n int64
		if err := s.databases.of[victim].QueryRowContext(ctx, leftovers["undo records"]).Scan(&n); err != nil || n == 0 {
			return err
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// settled waits until the transaction that began after the n-th has ended in all
// its branches.
func (s *show) settled(ctx context.Context, n int) (Path, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTimeout)
	defer cancel()
	for {
		paths, changed, err := s.watch.since(n)
		switch {
		case err != nil:
			return Path{}, err
		case len(paths) > 1:
			return Path{}, fmt.Errorf("one order made %d global transactions", len(paths))
		case len(paths) == 1 && paths[0].Decided() && paths[0].Outcome() != Open:
			return paths[0], nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return Path{}, fmt.Errorf("a transaction has not ended after %s: %+v: %w", settleTimeout, paths, ctx.Err())
		}
	}
}

// post is the customer. The error is for what no shop answers.
func (s *show) post(ctx context.Context, o service.Order) (answer, reason string, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return "", "", err
	}
	url := "http://" + s.fleet.services["order"].Address + "/orders"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return "", "", err
	}
	reason = strings.TrimSpace(string(text))
	switch resp.StatusCode {
	case http.StatusOK:
		return placed, "", nil
	case service.StatusRefused:
		return refused + reason, "", nil
	case service.StatusFailed:
		return failed, reason, nil
	case service.StatusUnknown:
		return unknown, reason, nil
	}
	return "", "", fmt.Errorf("%s: %s: %s", url, resp.Status, reason)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
