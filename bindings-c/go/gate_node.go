package hs2sync

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// gateTick is how often a gate looks at the time of day while nothing else happens.
const gateTick = time.Second

// doorkeeper is a node's gate, and the epoch by whose validators words are checked. Only the loop uses it.
type doorkeeper struct {
	gate  *Gate
	epoch *Epoch
	tick  *time.Ticker
}

// openGate makes the node's gate, if it has one.
func (n *Node) openGate(links []Link) error {
	if n.Gate == nil {
		return nil
	}
	gate, err := n.machine.NewGate(*n.Gate)
	if err != nil {
		return err
	}
	n.door = &doorkeeper{gate: gate, tick: time.NewTicker(gateTick)}
	if len(links) > 0 {
		return n.door.enter(n.Rules.Genesis, links)
	}
	n.door.epoch, err = n.Rules.Genesis.FirstEpoch()
	return err
}

func (d *doorkeeper) close() {
	if d != nil {
		d.tick.Stop()
		_ = d.gate.Close()
	}
}

// ticks are nil where there is no gate: nothing comes from that.
func (d *doorkeeper) ticks() <-chan time.Time {
	if d == nil {
		return nil
	}
	return d.tick.C
}

// enter notes that a proven epoch has begun.
func (d *doorkeeper) enter(genesis *Genesis, links []Link) (err error) {
	d.epoch, err = genesis.DecodeEpoch(links[len(links)-1].EncodedEpoch)
	return err
}

// orders tells the gate where the machine stands, and the host what the gate says.
func (n *Node) orders() error {
	if n.door == nil {
		return nil
	}
	if err := n.door.gate.Sync(time.Now()); err != nil {
		return err
	}
	for {
		order, err := n.door.gate.Poll()
		if err != nil {
			return err
		}
		if _, waits := order.(GateWait); waits {
			return nil
		}
		if n.OnOrder != nil {
			n.OnOrder(order)
		}
	}
}

// errNoGate is returned where there is none to tell.
var errNoGate = errors.New("hs2sync: the node has no gate: set Node.Gate before it runs")

// tellGate has the loop tell the gate something.
func (n *Node) tellGate(ctx context.Context, tell func(door *doorkeeper) error) error {
	if n.Gate == nil {
		return errNoGate
	}
	desk := n.desk()
	told := make(chan error, 1)
	select {
	case desk.words <- func() { told <- tell(n.door) }:
	case <-desk.over:
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-told:
		return err
	case <-desk.over:
		return ErrClosed
	}
}

// Votes brings the validator's record of its own votes to the node's gate, read back from its disk: at the start, and again
// before every return to consensus. view is the highest that it voted in or gave up on, with [VotesLast].
func (n *Node) Votes(ctx context.Context, record VoteRecord, view uint64) error {
	return n.tellGate(ctx, func(door *doorkeeper) error { return door.gate.Votes(record, view) })
}

// Advert brings another validator's signed word ([SignAdvert]) to the node's gate. An error says that it doesn't hold.
func (n *Node) Advert(ctx context.Context, advert []byte) error {
	return n.tellGate(ctx, func(door *doorkeeper) error {
		if err := door.gate.Advert(time.Now(), door.epoch, advert); err != nil {
			return fmt.Errorf("a word in epoch %d: %w", door.epoch.Number, err)
		}
		return nil
	})
}

// Behind says that consensus has verified that the network stands at a height or above, and misses what leads there.
func (n *Node) Behind(ctx context.Context, height uint64) error {
	return n.tellGate(ctx, func(door *doorkeeper) error { return door.gate.Behind(height) })
}
