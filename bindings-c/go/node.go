package hs2sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Node is a whole node: it catches up, follows the network, serves others, and takes in what its own engine decides. Fields
// are set before [Node.Run], which is called once.
type Node struct {
	// Rules are the chain.
	Rules Rules
	// Anchor is where a node of a chain of the host's own begins.
	Anchor *Anchor
	// Config are settings of the machine.
	Config Config
	// Store keeps the blocks, and Network carries requests and answers.
	Store   Store
	Network Network
	// Execute executes blocks in order, durably: what it returned nil for is not given again. It must also bear blocks that
	// it has executed before, after a crash. Nil executes nothing.
	Execute func(ctx context.Context, blocks []Block) error
	// State is set where the application executes on a [State] in the node's store, which is a [StateKeeper]: then states are
	// fetched where that is faster (the setting "default_strategy"), and served to others.
	State *State
	// AcceptLongRange takes trust of any age, on a chain with a trusting period.
	AcceptLongRange bool
	// Until ends the run at this height; 0 follows the network until the context is done.
	Until uint64
	// OnEvent is told what happens; nil is told nothing.
	OnEvent func(Event)
	// Log takes what happens in words; nil is the default logger.
	Log *slog.Logger
	// Work is how much CPU time a second serving may take; 0 is half a core.
	Work time.Duration
	// Gate is set where an engine of this node takes part in consensus, and OnOrder is told when it may, and when it must not:
	// the engine is paused until the first [GateResume]. OnOrder runs on the node's loop and must not wait for the node.
	Gate    *GateSettings
	OnOrder func(Order)

	errands
	machine *Machine
	halted  error

	ran    atomic.Bool
	opened sync.Once
	front  *desk
	// submitted is the id of the last submission, and unanswered are those that the machine has not answered.
	submitted  uint64
	unanswered map[uint64]chan<- Decided
	door       *doorkeeper
}

// ErrHalted is returned by [Node.Run] where the machine has stopped for good: the network contradicts itself, or the
// application the network. The log says which.
var ErrHalted = errors.New("hs2sync: halted")

// maxPeriod is the longest trusting period that a Go duration holds.
const maxPeriod = time.Duration(1<<63 - 1)

// wallEvery is after how long a machine with a trusting period is told the time of day again: clocks are set, and computers sleep.
const wallEvery = 10 * time.Second

// errReached ends a run that has an end.
var errReached = errors.New("reached")

// calls is how many calls may be out: more than the machine ever has.
const calls = 32

// Run runs the node until ctx is done, the height Until is reached, or something failed for good.
func (n *Node) Run(ctx context.Context) error {
	if n.ran.Swap(true) {
		return errors.New("hs2sync: a node runs once: make another")
	}
	defer close(n.desk().over)
	if n.Log == nil {
		n.Log = slog.Default()
	}
	keeper, err := n.keeper()
	if err != nil {
		return err
	}
	if keeper != nil {
		if err := n.mend(keeper); err != nil {
			return fmt.Errorf("a fetched state: %w", err)
		}
	}
	position, err := n.Store.Position()
	if err != nil {
		return fmt.Errorf("the store's position: %w", err)
	}
	server, err := NewServer(n.Rules, n.Store, n.Work)
	if err != nil {
		return err
	}
	defer server.Close()
	if keeper != nil {
		server.views = keeper.View
	}
	start := Start{Rules: n.Rules, Anchor: n.Anchor, Stored: position.Stored, Links: position.Links, States: keeper != nil}
	if genesis := n.Rules.Genesis; genesis != nil && genesis.TrustingPeriodMs != 0 && !n.AcceptLongRange {
		period := time.Duration(min(genesis.TrustingPeriodMs, uint64(maxPeriod/time.Millisecond))) * time.Millisecond
		start.Trust = &Trust{Period: period, Wall: time.Now()}
	}
	if position.Stored != nil {
		start.Applied = &position.Applied
	}
	n.begun = time.Now()
	n.machine, err = NewMachine(n.Config, start, rand.Uint64(), 0)
	if err != nil {
		return err
	}
	defer n.machine.Close()
	if err := n.openGate(position.Links); err != nil {
		return err
	}
	defer n.door.close()
	n.prepare(n.machine, n.Network, n.Log)
	n.unanswered = map[uint64]chan<- Decided{}
	ctx, cancel := context.WithCancel(ctx)
	work := make(chan *Call, calls)
	changes := make(chan PeerChange, 256)
	n.verifiers(ctx, n.Rules, n.machine.Begun)
	n.group.Go(func() { n.carryOut(ctx, work) })
	served := make(chan error, 1)
	n.group.Go(func() { served <- n.Network.Serve(ctx, server.Answer, changes) })
	defer func() {
		cancel()
		n.end()
	}()
	until := n.Until
	if until == 0 {
		until = Never
	}
	if err := n.machine.Start(n.now(), until); err != nil {
		return err
	}
	err = n.loop(ctx, work, changes, served)
	if errors.Is(err, errReached) {
		return nil
	}
	return err
}

// loop brings facts to the machine and carries out what it says.
func (n *Node) loop(ctx context.Context, work chan<- *Call, changes <-chan PeerChange, served <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	walls := time.NewTicker(wallEvery)
	defer walls.Stop()
	for {
		wait, err := n.drain(ctx, work)
		if err != nil {
			return err
		}
		if err := n.orders(); err != nil {
			return err
		}
		if wait.Ever {
			timer.Reset(max(wait.Deadline-n.now(), 0))
		} else {
			timer.Stop()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-served:
			return fmt.Errorf("the network: %w", err)
		case fact := <-n.facts:
			err = fact(n.now())
			for more := true; more && err == nil; {
				// Facts that are there together cost one plan.
				select {
				case fact := <-n.facts:
					err = fact(n.now())
				default:
					more = false
				}
			}
		case change := <-changes:
			err = n.change(change)
		case handed := <-n.desk().handed:
			n.take(n.now(), handed)
		case word := <-n.desk().words:
			word()
		case <-n.door.ticks():
		case <-walls.C:
			err = n.machine.Wall(n.now(), time.Now())
		case <-timer.C:
			err = n.machine.Timeout(n.now())
		}
		if err != nil {
			return err
		}
	}
}

// drain carries out what the machine says until it waits.
func (n *Node) drain(ctx context.Context, work chan<- *Call) (Wait, error) {
	for {
		output, err := n.machine.Poll()
		if err != nil {
			return Wait{}, err
		}
		switch output := output.(type) {
		case *Call:
			if n.door != nil && len(output.Handovers) > 0 {
				if err := n.door.enter(n.Rules.Genesis, output.Handovers); err != nil {
					return Wait{}, err
				}
			}
			select {
			case work <- output:
			case <-ctx.Done():
				return Wait{}, ctx.Err()
			}
		case Event:
			n.event(output)
		case Decided:
			n.decided(output)
		case Wait:
			return output, n.halted
		default:
			n.run(ctx, output)
		}
	}
}

func (n *Node) event(event Event) {
	n.Log.Info(event.Text, "event", CodeName(event.Code), "height", event.Height)
	if n.OnEvent != nil {
		n.OnEvent(event)
	}
	switch {
	case event.Code == EventHalted:
		n.halted = fmt.Errorf("%w: %s", ErrHalted, event.Text)
	case event.Code == EventReached && n.Until != 0 && event.Height >= n.Until:
		n.halted = errReached
	}
}
