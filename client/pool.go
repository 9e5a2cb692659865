package client

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"

	"github.com/qiao-tx/qiao/protocol/rpc"
)

// ErrClosed: the Client is closed. Requests fail with an error that wraps it
// and is an Unavailable.
var ErrClosed = errors.New("the client is closed")

var (
	errUnconnected = errors.New("no coordinator node is connected")
	errUnfit       = errors.New("no connected coordinator node can take the request")
)

// link is a connection on which the application is registered.
type link struct {
	conn *rpc.Conn
	// address is as the Resolver gave it, resolved is the peer's host:port as a
	// number. XIDs have one or the other.
	address, resolved string
	// extension is the level of Qiao's own extensions that both ends speak; 0 on
	// a Java coordinator.
	extension int
	// resources is the generation of resources that the node is known to know.
	// Guarded by the pool's mutex.
	resources int
}

func (l *link) alive() bool {
	select {
	case <-l.conn.Done():
		return false
	default:
		return true
	}
}

// pool knows the links there are and lets callers wait for one.
type pool struct {
	mu    sync.Mutex
	links []*link
	// generation counts the resources registered so far.
	generation int
	// changed is closed and replaced when a waiter should look again.
	changed chan struct{}
	closed  bool
	// listed are the addresses that the Resolver named last, followed those that a
	// goroutine looks after.
	listed, followed map[string]bool
	// trouble is why each address that is not connected is not, for messages.
	trouble map[string]error
}

func newPool() *pool {
	return &pool{
		changed: make(chan struct{}), trouble: make(map[string]error),
		listed: make(map[string]bool), followed: make(map[string]bool),
	}
}

// announce wakes all waiters. The mutex must be held.
func (p *pool) announce() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// list notes the addresses of the nodes that there are now. It returns those that
// nobody looks after yet, as the caller now must, and those that have left.
func (p *pool) list(addresses []string) (fresh, gone []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	before := p.listed
	p.listed = make(map[string]bool, len(addresses))
	for _, address := range addresses {
		p.listed[address] = true
		if !p.followed[address] {
			p.followed[address] = true
			fresh = append(fresh, address)
		}
	}
	for address := range before {
		if !p.listed[address] {
			gone = append(gone, address)
		}
	}
	return fresh, gone
}

// worthConnecting tells whether address is listed. If it is not, nobody looks
// after it any more.
func (p *pool) worthConnecting(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listed[address] {
		return true
	}
	delete(p.followed, address)
	delete(p.trouble, address)
	return false
}

// lists tells whether address is listed.
func (p *pool) lists(address string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.listed[address]
}

// knowsNone tells whether no node has ever been listed.
func (p *pool) knowsNone() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.listed) == 0
}

// add puts l into use. It returns false when resources were registered that
// the node does not know yet: tell it and add again.
func (p *pool) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.resources < p.generation {
		return false
	}
	p.links = append(p.links, l)
	delete(p.trouble, l.address)
	p.announce()
	return true
}

// remove takes l out of use; err says why its address is not connected.
func (p *pool) remove(l *link, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.links = slices.DeleteFunc(p.links, func(other *link) bool { return other == l })
	p.trouble[l.address] = err
}

// failed notes why address could not be connected; nil forgets the address.
// It returns whether this is news.
func (p *pool) failed(address string, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err == nil {
		delete(p.trouble, address)
		return true
	}
	old, known := p.trouble[address]
	p.trouble[address] = err
	return !known || old == nil || old.Error() != err.Error()
}

func (p *pool) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.announce()
}

// generationNow returns the generation of resources so far.
func (p *pool) generationNow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.generation
}

// nextGeneration starts a new one and returns it with the links that do not
// know its resource.
func (p *pool) nextGeneration() (int, []*link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.generation++
	return p.generation, slices.Clone(p.links)
}

// learned notes that the node of l knows a resource of that generation. Nodes
// are told in any order, so this says nothing about earlier ones.
func (p *pool) learned(l *link, generation int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.resources = max(l.resources, generation)
	p.announce()
}

// choice says which link a request may take.
type choice struct {
	// address is that of the node to use if it is connected, or "".
	address string
	// not is a link to use only if there is no other.
	not *link
	// fits, when set, must hold. It is called with the pool's mutex held.
	fits func(l *link) bool
}

// take waits until a link fits and returns one: of the chosen address if
// possible, else of any node that is listed, else of one that has left the list
// and still serves. (Going round would fall into step with callers that begin and
// commit in turn, and send every begin to one node.)
func (p *pool) take(ctx context.Context, c choice) (*link, error) {
	for {
		l, changed, err := p.look(c)
		if l != nil || err != nil {
			return l, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("%w; %w", ended(ctx), p.whyUnconnected())
		}
	}
}

// look is take without waiting: without a link or error, a look after changed
// is closed may find one.
func (p *pool) look(c choice) (found *link, changed <-chan struct{}, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, nil, ErrClosed
	}
	best := -1
	start := rand.IntN(max(len(p.links), 1))
	for i := range p.links {
		l := p.links[(start+i)%len(p.links)]
		if !l.alive() || c.fits != nil && !c.fits(l) {
			continue
		}
		if rank := p.rank(l, c); rank > best {
			found, best = l, rank
		}
	}
	return found, p.changed, nil
}

// rank is how well a usable link suits a choice. The mutex must be held.
func (p *pool) rank(l *link, c choice) int {
	switch {
	case l == c.not:
		return 0
	case c.address != "" && (c.address == l.address || c.address == l.resolved):
		return 3
	case p.listed[l.address]:
		return 2
	}
	return 1
}

// several tells whether more than one node is connected.
func (p *pool) several() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links) > 1
}

// ended says why ctx ended.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// whyUnconnected tells what is wrong with each node that is not connected.
func (p *pool) whyUnconnected() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	why := errUnconnected
	if len(p.links) > 0 {
		why = errUnfit
	}
	for _, address := range slices.Sorted(maps.Keys(p.trouble)) {
		why = fmt.Errorf("%w; %w", why, p.trouble[address])
	}
	return why
}
