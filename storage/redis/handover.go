package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/qiao-tx/qiao/protocol"
)

// A Java coordinator finds transactions by lists, one for each status, and those that
// are open in a sorted set. To keep a list in order costs Redis a walk through it at
// each step, so they are made when the last node of ours goes, and taken up, and
// removed, when the first one comes.

// allStatuses ends the statuses of Seata's lists.
const allStatuses = protocol.StatusStopRollbackOrRollbackRetry

// seataLists are the keys of those lists.
func (k keys) seataLists() []string {
	lists := []string{k.begun()}
	for status := protocol.StatusUnKnown; status <= allStatuses; status++ {
		lists = append(lists, k.status(status))
	}
	return lists
}

// handOver makes the lists, if no other node is there.
func (s *Store) handOver(ctx context.Context) error {
	if err := s.node.discover(ctx); err != nil {
		return err
	}
	if s.node.failure() != nil || len(s.node.nodes()) > 1 {
		return nil
	}
	if err := s.server.client.Load().Del(ctx, s.keys.seataLists()...).Err(); err != nil {
		return err
	}
	for after := ""; ; {
		reply, err := s.server.eval(ctx, handoverScript, s.keys.live(), s.planner.lease, s.planner.token, s.keys.prefix, after, strconv.Itoa(scanPage))
		if err != nil {
			return err
		}
		last, ok := reply.(string)
		if !ok {
			return errors.New("the lease ended meanwhile")
		}
		if last == "" {
			return nil
		}
		after = last
	}
}

// takeUp takes up what another program left under Seata's keys, and tells how many
// transactions that was.
func (s *Store) takeUp(ctx context.Context) (found int, err error) {
	for status := protocol.StatusUnKnown; status <= allStatuses; status++ {
		n, err := s.takeUpList(ctx, s.keys.status(status))
		if found += n; err != nil {
			return found, fmt.Errorf("look for transactions that another program left: %w", err)
		}
	}
	if found > 0 {
		s.cfg.Logger.Info("took up transactions that another coordinator left", "transactions", found)
	}
	if err := s.server.client.Load().Del(ctx, s.keys.seataLists()...).Err(); err != nil {
		return found, fmt.Errorf("remove Seata's lists of transactions: %w", err)
	}
	return found, nil
}

func (s *Store) takeUpList(ctx context.Context, list string) (found int, err error) {
	for first, length := 0, scanPage; length == scanPage; first += length {
		reply, err := s.server.eval(ctx, foreignScript, list, strconv.Itoa(first), strconv.Itoa(first+scanPage-1), s.keys.prefix)
		if err != nil {
			return found, err
		}
		page, _ := reply.([]any)
		if len(page) == 0 {
			return found, fmt.Errorf("%w: foreign.lua answered with %T", ErrDamaged, reply)
		}
		n, _ := page[0].(int64)
		length = int(n)
		for _, x := range page[1:] {
			x, _ := x.(string)
			if _, _, err := s.load(ctx, x); err != nil {
				return found, err
			}
			found++
		}
	}
	return found, nil
}
