package hs2sync

import (
	"errors"
	"fmt"
	"time"
)

// StateView is a store at one moment: blocks and states that belong together.
type StateView interface {
	Reader
	StateStore
	// Close gives the view back.
	Close() error
}

// StateKeeper is a [Store] that keeps states too. Package pebblestore is one.
type StateKeeper interface {
	Store
	StateStore
	// Sync returns once everything that was written survives a crash.
	Sync() error
	// View is the store as it stands now, whatever is written meanwhile.
	View() (StateView, error)
	// Prepare keeps a base durably, before the state of its block is made live.
	Prepare(base Base) error
	// Prepared is the base that was kept and not taken up yet; nil where there is none.
	Prepared() (*Base, error)
	// Rebase lets the stored blocks begin above the base, which counts as stored and applied, all of it or nothing. Blocks at
	// and below it are forgotten.
	Rebase(base Base) error
	// Discard forgets the base that was kept.
	Discard() error
}

// errNoKeeper is returned where a node has a state and nowhere to keep it.
var errNoKeeper = errors.New("hs2sync: Node.State needs a Store that is a StateKeeper, such as pebblestore's")

// keeper is the node's store, as one that keeps states; nil where it keeps none.
func (n *Node) keeper() (StateKeeper, error) {
	if n.State == nil {
		return nil, nil
	}
	keeper, ok := n.Store.(StateKeeper)
	if !ok {
		return nil, errNoKeeper
	}
	if n.Rules.Genesis == nil {
		return nil, errors.New("hs2sync: states are those of the native chain")
	}
	return keeper, nil
}

// mend completes what a crash has left in the middle: a state that is live, above blocks that are still the old ones.
func (n *Node) mend(keeper StateKeeper) error {
	base, err := keeper.Prepared()
	if err != nil || base == nil {
		return err
	}
	return n.rebase(keeper, *base)
}

// rebase lets the blocks begin above a base whose state is live, and else forgets it.
func (n *Node) rebase(keeper StateKeeper, base Base) error {
	stands, err := n.State.Position()
	if err != nil {
		return err
	}
	// Blocks may have been executed on it already.
	if stands != nil && stands.Height >= base.Height {
		return keeper.Rebase(base)
	}
	return keeper.Discard()
}

// fetch carries out a call about a state.
func (n *Node) fetch(call *Call) func(now time.Duration) error {
	done, err := n.carryOutState(call)
	if err != nil {
		failed := n.failed("a part of a state is not kept", err)
		return func(now time.Duration) error { return n.machine.Stored(now, call.ID, failed) }
	}
	return func(now time.Duration) error { return n.machine.Done(now, done) }
}

func (n *Node) carryOutState(call *Call) ([]byte, error) {
	keeper, err := n.keeper()
	if err != nil {
		return nil, err
	}
	if keeper == nil {
		return nil, errNoKeeper
	}
	if call.Base != nil {
		if err := keeper.Prepare(*call.Base); err != nil {
			return nil, err
		}
	}
	done, err := n.State.CarryOut(call)
	if err != nil {
		return nil, err
	}
	if err := keeper.Sync(); err != nil {
		return nil, err
	}
	if call.Base != nil {
		// The machine is told of a state that has another root too, and then nothing is live.
		if err := n.rebase(keeper, *call.Base); err != nil {
			return nil, fmt.Errorf("the base at height %d: %w", call.Base.Height, err)
		}
	}
	return done, nil
}

// unexecuted are the blocks that the state has not executed: after a crash some come again.
func (n *Node) unexecuted(blocks []Block) ([]Block, error) {
	if n.State == nil || len(blocks) == 0 {
		return blocks, nil
	}
	stands, err := n.State.Position()
	if err != nil || stands == nil {
		return blocks, err
	}
	for len(blocks) > 0 && blocks[0].Height <= stands.Height {
		blocks = blocks[1:]
	}
	return blocks, nil
}
