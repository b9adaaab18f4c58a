package hs2sync

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
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

	machine *Machine
	begun   time.Time
	facts   chan func(now time.Duration) error
	cancels map[uint64]context.CancelFunc
	jobs    *jobQueue
	group   sync.WaitGroup
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
	position, err := n.Store.Position()
	if err != nil {
		return fmt.Errorf("the store's position: %w", err)
	}
	server, err := NewServer(n.Rules, n.Store, n.Work)
	if err != nil {
		return err
	}
	defer server.Close()
	start := Start{Rules: n.Rules, Anchor: n.Anchor, Stored: position.Stored, Links: position.Links}
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
	n.facts = make(chan func(time.Duration) error, 256)
	n.cancels = map[uint64]context.CancelFunc{}
	n.unanswered = map[uint64]chan<- Decided{}
	n.jobs = newJobQueue()
	ctx, cancel := context.WithCancel(ctx)
	work := make(chan *Call, calls)
	changes := make(chan PeerChange, 256)
	for range runtime.GOMAXPROCS(0) {
		n.group.Go(func() { n.verify(ctx) })
	}
	n.group.Go(func() { n.carryOut(ctx, work) })
	served := make(chan error, 1)
	n.group.Go(func() { served <- n.Network.Serve(ctx, server.Answer, changes) })
	defer func() {
		cancel()
		n.jobs.close()
		n.group.Wait()
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

func (n *Node) now() time.Duration { return time.Since(n.begun) }

// loop brings facts to the machine and carries out what it says.
func (n *Node) loop(ctx context.Context, work chan<- *Call, changes <-chan PeerChange, served <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
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
			if change.Connected {
				err = n.machine.Connected(n.now(), change.Peer, change.Group)
			} else {
				err = n.machine.Disconnected(n.now(), change.Peer)
			}
		case handed := <-n.desk().handed:
			n.take(n.now(), handed)
		case word := <-n.desk().words:
			word()
		case <-n.door.ticks():
		case <-timer.C:
			err = n.machine.Timeout(n.now())
		}
		if err != nil {
			return err
		}
	}
}

// tell brings a fact to the loop, unless the node ends.
func (n *Node) tell(ctx context.Context, fact func(now time.Duration) error) {
	select {
	case n.facts <- fact:
	case <-ctx.Done():
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
		case Request:
			n.ask(ctx, output)
		case CancelRequest:
			if cancel, ok := n.cancels[output.ID]; ok {
				cancel()
				delete(n.cancels, output.ID)
			}
		case Verify:
			n.jobs.put(output.Job)
		case CancelJob:
			n.jobs.remove(output.ID)
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
		case Penalize:
			n.penalize(output)
		case Event:
			n.event(output)
		case Decided:
			n.decided(output)
		case Wait:
			if n.halted != nil {
				return output, n.halted
			}
			return output, nil
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

func (n *Node) penalize(penalty Penalize) {
	if penalty.Kind == Lift {
		n.Network.Lift(penalty.Peer)
		return
	}
	reason := CodeName(penalty.Code)
	n.Log.Warn("a peer is kept out", "peer", penalty.Peer.String(), "reason", reason)
	n.Network.Ban(penalty.Peer, penalty.Until-n.now(), reason)
}

func (n *Node) ask(ctx context.Context, request Request) {
	ctx, cancel := context.WithCancel(ctx)
	n.cancels[request.ID] = cancel
	n.group.Go(func() {
		answer, err := n.Network.Ask(ctx, request.Peer, request.Bytes, request.MaxResponseBytes)
		n.tell(ctx, func(now time.Duration) error {
			cancel()
			delete(n.cancels, request.ID)
			switch {
			case err == nil:
				return n.machine.Response(now, request.ID, answer)
			case errors.Is(err, ErrOversize):
				return n.machine.Failed(now, request.ID, Oversize)
			default:
				return n.machine.Failed(now, request.ID, Broken)
			}
		})
	})
}

// verify runs jobs, the lowest heights first.
func (n *Node) verify(ctx context.Context) {
	for {
		job, ok := n.jobs.take()
		if !ok {
			return
		}
		n.tell(ctx, func(now time.Duration) error { return n.machine.Begun(now, job.ID) })
		verdict, err := job.Run(n.Rules)
		if err != nil {
			// The machine gives it out again after its time.
			n.Log.Error("a job could not be run", "error", err)
			continue
		}
		n.tell(ctx, func(now time.Duration) error { return n.machine.Verdict(now, verdict) })
	}
}
