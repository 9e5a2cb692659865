package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/qiao-tx/qiao/samples/shop/service"
)

// answer is what a customer was told about an order.
type answer uint8

const (
	unasked    answer = iota
	placed            // the order stands
	noStock           // refused
	noMoney           // refused
	rolledBack        // a failure on the way; nothing was changed
	unknown           // no answer, or one that does not tell
	answers           // how many there are
)

const (
	orderWait = 60 * time.Second
	// A customer who met a failure thinks before the next order; one who met no
	// order service at all tries the same order again.
	failurePause = 300 * time.Millisecond
	dialPause    = 50 * time.Millisecond
)

// customers place all orders, many at once, and note each answer.
type customers struct {
	url     string
	world   world
	http    *http.Client
	next    atomic.Int64
	answers []answer // by order number; each is written once
	counts  [answers]atomic.Int64
}

func newCustomers(address string, w world, concurrency int) *customers {
	return &customers{
		url: "http://" + address + "/orders", world: w, answers: make([]answer, w.orders),
		http: &http.Client{Timeout: orderWait, Transport: &http.Transport{MaxIdleConnsPerHost: concurrency}},
	}
}

// run returns when every order has an answer or ctx has ended.
func (c *customers) run(ctx context.Context, concurrency int) {
	var running sync.WaitGroup
	for range concurrency {
		running.Go(func() {
			for {
				n := c.next.Add(1) - 1
				if n >= int64(c.world.orders) || ctx.Err() != nil {
					return
				}
				a := c.place(ctx, c.world.order(n))
				c.answers[n] = a
				c.counts[a].Add(1)
				if a == rolledBack || a == unknown {
					pause(ctx, failurePause)
				}
			}
		})
	}
	running.Wait()
	c.http.CloseIdleConnections()
}

// answered is how many orders have an answer.
func (c *customers) answered() int64 {
	var sum int64
	for i := range c.counts {
		sum += c.counts[i].Load()
	}
	return sum
}

// place repeats only what was certainly not heard.
func (c *customers) place(ctx context.Context, o service.Order) answer {
	for ctx.Err() == nil {
		a, err := c.post(ctx, o)
		var op *net.OpError
		if !errors.As(err, &op) || op.Op != "dial" {
			return a
		}
		pause(ctx, dialPause)
	}
	return unknown
}

func (c *customers) post(ctx context.Context, o service.Order) (answer, error) {
	body, err := json.Marshal(o)
	if err != nil {
		return rolledBack, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, bytes.NewReader(body))
	if err != nil {
		return rolledBack, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return unknown, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
	if err != nil {
		return unknown, err
	}
	switch {
	case resp.StatusCode == http.StatusOK:
		return placed, nil
	case resp.StatusCode == service.StatusRefused && strings.Contains(string(text), "no stock"):
		return noStock, nil
	case resp.StatusCode == service.StatusRefused:
		return noMoney, nil
	case resp.StatusCode == service.StatusFailed:
		return rolledBack, nil
	default:
		return unknown, nil
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// world is the shop before the first order, and what will be ordered. The same
// number of orders makes the same world.
type world struct{ orders int }

const (
	items, customerCount = 100, 400
	// One item and one customer of each ten has too little.
	scarceEvery    = 10
	price          = 7
	maxQuantity    = 3
	scarceStock    = 4
	scarceMoney    = 5 * price
	plentyPerOrder = maxQuantity // enough, were all orders for one item
)

func itemName(i int) string     { return fmt.Sprintf("item-%03d", i) }
func customerName(i int) string { return fmt.Sprintf("customer-%03d", i) }

func (w world) stock(i int) int64 {
	if i%scarceEvery == 0 {
		return scarceStock
	}
	return int64(w.orders) * plentyPerOrder
}

func (w world) balance(i int) int64 {
	if i%scarceEvery == 0 {
		return scarceMoney
	}
	return int64(w.orders) * plentyPerOrder * price
}

// noPoints is what each customer begins with.
func noPoints(int) int64 { return 0 }

func (w world) order(n int64) service.Order {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	quantity := 1 + random.Int64N(maxQuantity)
	return service.Order{
		Number: n, Customer: customerName(random.IntN(customerCount)), Item: itemName(random.IntN(items)),
		Quantity: quantity, Price: quantity * price,
	}
}
