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

// LightNode is a light client that runs over a network: it proves the chain's tip and answers questions, and stores nothing.
// Fields are set before [LightNode.Run], which is called once; questions may be put from any goroutine, also before.
type LightNode struct {
	LightStart
	// Network carries requests and answers. Peers that ask this node are told that it serves nothing.
	Network Network
	// OnKeep is told of each newer checkpoint, to be kept for the next visit; nil is told nothing. It must not wait for the node.
	OnKeep func(Keep)
	// OnEvent is told what happens; nil is told nothing.
	OnEvent func(Event)
	// Log takes what happens in words; nil is the default logger.
	Log *slog.Logger

	errands
	light  *Light
	asked  map[uint64]chan<- Answered
	halted error

	ran       atomic.Bool
	opened    sync.Once
	questions chan lightQuestion
	over      chan struct{}
}

// lightQuestion is a question on its way to the loop.
type lightQuestion struct {
	put    func(now time.Duration) (question uint64, err error)
	answer chan Answered
}

// EventLightHalted is the event of a light client that has stopped for good.
const EventLightHalted uint32 = 0x1608

func (n *LightNode) open() {
	n.opened.Do(func() {
		n.questions = make(chan lightQuestion)
		n.over = make(chan struct{})
	})
}

// Run runs the client until ctx is done, or something failed for good.
func (n *LightNode) Run(ctx context.Context) error {
	if n.ran.Swap(true) {
		return errors.New("hs2sync: a light client runs once: make another")
	}
	n.open()
	defer close(n.over)
	if n.Log == nil {
		n.Log = slog.Default()
	}
	n.begun = time.Now()
	light, err := NewLight(n.LightStart, rand.Uint64(), 0, n.begun)
	if err != nil {
		return err
	}
	n.light = light
	defer light.Close()
	n.prepare(light, n.Network, n.Log)
	n.asked = map[uint64]chan<- Answered{}
	ctx, cancel := context.WithCancel(ctx)
	changes := make(chan PeerChange, 256)
	n.verifiers(ctx, Rules{Genesis: n.Genesis}, nil)
	served := make(chan error, 1)
	n.group.Go(func() { served <- n.Network.Serve(ctx, serveNothing, changes) })
	defer func() {
		cancel()
		n.end()
	}()
	if err := light.Start(n.now()); err != nil {
		return err
	}
	return n.loop(ctx, changes, served)
}

// serveNothing tells a peer that asks that there is nothing here.
func serveNothing(context.Context, ID, uint64, []byte) ([]byte, func(), error) {
	answer, err := refusal(fnRefusalUnsupported)
	return answer, func() {}, err
}

func (n *LightNode) loop(ctx context.Context, changes <-chan PeerChange, served <-chan error) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	walls := time.NewTicker(wallEvery)
	defer walls.Stop()
	for {
		wait, err := n.drain(ctx)
		if err != nil {
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
		case change := <-changes:
			err = n.change(change)
		case question := <-n.questions:
			number, wrong := question.put(n.now())
			if wrong != nil {
				question.answer <- Answered{Err: wrong}
			} else {
				n.asked[number] = question.answer
			}
		case <-walls.C:
			err = n.light.Wall(n.now(), time.Now())
		case <-timer.C:
			err = n.light.Timeout(n.now())
		}
		if err != nil {
			return err
		}
	}
}

// drain carries out what the client says until it waits.
func (n *LightNode) drain(ctx context.Context) (Wait, error) {
	for {
		output, err := n.light.Poll()
		if err != nil {
			return Wait{}, err
		}
		switch output := output.(type) {
		case Answered:
			if answer, ok := n.asked[output.Question]; ok {
				delete(n.asked, output.Question)
				answer <- output
			}
		case Keep:
			if n.OnKeep != nil {
				n.OnKeep(output)
			}
		case Event:
			n.Log.Info(output.Text, "event", CodeName(output.Code), "height", output.Height)
			if n.OnEvent != nil {
				n.OnEvent(output)
			}
			if output.Code == EventLightHalted {
				n.halted = fmt.Errorf("%w: %s", ErrHalted, output.Text)
			}
		case Wait:
			return output, n.halted
		default:
			n.run(ctx, output)
		}
	}
}

// question puts a question, and waits for its answer. One that nobody waits for any more is answered to nobody.
func (n *LightNode) question(ctx context.Context, put func(now time.Duration) (uint64, error)) (*LightAnswer, error) {
	n.open()
	question := lightQuestion{put: put, answer: make(chan Answered, 1)}
	select {
	case n.questions <- question:
	case <-n.over:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	select {
	case answered := <-question.answer:
		return answered.Answer, answered.Err
	case <-n.over:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Get is the proven value of a key in the newest state, and the block after which it has that; a nil value says that it has
// none, which is proven too. It waits until a tip is proven and confirmed, at most as long as the setting QueryTimeout.
func (n *LightNode) Get(ctx context.Context, key []byte) (*LightAnswer, error) {
	return n.GetAt(ctx, key, AtNow, 0)
}

// GetAt is the same of another state; height is looked at with [AtHeight] alone.
func (n *LightNode) GetAt(ctx context.Context, key []byte, at At, height uint64) (*LightAnswer, error) {
	return n.question(ctx, func(now time.Duration) (uint64, error) { return n.light.Get(now, key, at, height) })
}

// Header is the proven block at a height.
func (n *LightNode) Header(ctx context.Context, height uint64) (*LightAnswer, error) {
	return n.question(ctx, func(now time.Duration) (uint64, error) { return n.light.Header(now, height) })
}

// Bodies are the payloads of the blocks from first to last, within one cell of 1,024 heights and one epoch.
func (n *LightNode) Bodies(ctx context.Context, first, last uint64) (*LightAnswer, error) {
	return n.question(ctx, func(now time.Duration) (uint64, error) { return n.light.Bodies(now, first, last) })
}
