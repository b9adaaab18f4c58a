package hs2sync

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"time"
)

// driven is what a loop brings facts to: a machine, or a light client.
type driven interface {
	Connected(now time.Duration, peer ID, group uint64) error
	Disconnected(now time.Duration, peer ID) error
	Response(now time.Duration, request uint64, answer []byte) error
	Failed(now time.Duration, request uint64, failure RequestFailure) error
	Verdict(now time.Duration, verdict *Verdict) error
}

// errands are the requests and jobs of a node that goroutines beside its loop run, and the facts that come of them.
type errands struct {
	begun   time.Time
	of      driven
	network Network
	log     *slog.Logger
	facts   chan func(now time.Duration) error
	cancels map[uint64]context.CancelFunc
	jobs    *jobQueue
	group   sync.WaitGroup
}

// prepare makes everything ready for what is driven over a network.
func (e *errands) prepare(of driven, network Network, log *slog.Logger) {
	e.of, e.network, e.log = of, network, log
	e.facts = make(chan func(time.Duration) error, 256)
	e.cancels = map[uint64]context.CancelFunc{}
	e.jobs = newJobQueue()
}

// verifiers begins to run jobs, a goroutine for each processor; begins is told of each job that one begins, where it is set.
func (e *errands) verifiers(ctx context.Context, rules Rules, begins func(now time.Duration, job uint64) error) {
	for range runtime.GOMAXPROCS(0) {
		e.group.Go(func() { e.verify(ctx, rules, begins) })
	}
}

// end waits for all goroutines, whose context is done.
func (e *errands) end() {
	e.jobs.close()
	e.group.Wait()
}

func (e *errands) now() time.Duration { return time.Since(e.begun) }

// tell brings a fact to the loop, unless the node ends.
func (e *errands) tell(ctx context.Context, fact func(now time.Duration) error) {
	select {
	case e.facts <- fact:
	case <-ctx.Done():
	}
}

// run carries out an output that is about peers and jobs alone; other outputs it leaves alone.
func (e *errands) run(ctx context.Context, output Output) {
	switch output := output.(type) {
	case Request:
		e.ask(ctx, output)
	case CancelRequest:
		if cancel, ok := e.cancels[output.ID]; ok {
			cancel()
			delete(e.cancels, output.ID)
		}
	case Verify:
		e.jobs.put(output.Job)
	case CancelJob:
		e.jobs.remove(output.ID)
	case Penalize:
		e.penalize(output)
	}
}

// change brings what has become of a connection.
func (e *errands) change(change PeerChange) error {
	if change.Connected {
		return e.of.Connected(e.now(), change.Peer, change.Group)
	}
	return e.of.Disconnected(e.now(), change.Peer)
}

// penalize does what an output says to a peer.
func (e *errands) penalize(penalty Penalize) {
	if penalty.Kind == Lift {
		e.network.Lift(penalty.Peer)
		return
	}
	reason := CodeName(penalty.Code)
	e.log.Warn("a peer is kept out", "peer", penalty.Peer.String(), "reason", reason)
	e.network.Ban(penalty.Peer, penalty.Until-e.now(), reason)
}

func (e *errands) ask(ctx context.Context, request Request) {
	ctx, cancel := context.WithCancel(ctx)
	e.cancels[request.ID] = cancel
	e.group.Go(func() {
		answer, err := e.network.Ask(ctx, request.Peer, request.Bytes, request.MaxResponseBytes)
		e.tell(ctx, func(now time.Duration) error {
			cancel()
			delete(e.cancels, request.ID)
			switch {
			case err == nil:
				return e.of.Response(now, request.ID, answer)
			case errors.Is(err, ErrOversize):
				return e.of.Failed(now, request.ID, Oversize)
			default:
				return e.of.Failed(now, request.ID, Broken)
			}
		})
	})
}

// verify runs jobs, the lowest heights first.
func (e *errands) verify(ctx context.Context, rules Rules, begins func(now time.Duration, job uint64) error) {
	for {
		job, ok := e.jobs.take()
		if !ok {
			return
		}
		if begins != nil {
			e.tell(ctx, func(now time.Duration) error { return begins(now, job.ID) })
		}
		verdict, err := job.Run(rules)
		if err != nil {
			// It is given out again after its time.
			e.log.Error("a job could not be run", "error", err)
			continue
		}
		e.tell(ctx, func(now time.Duration) error { return e.of.Verdict(now, verdict) })
	}
}
