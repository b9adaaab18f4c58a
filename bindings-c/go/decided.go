package hs2sync

import (
	"context"
	"fmt"
	"time"
)

// DecidedBlocks are consecutive blocks that the node's own engine has decided: of one epoch, and within one cell of 1,024
// heights, which begin at multiples of 1,024.
type DecidedBlocks struct {
	// First is the height of the first.
	First uint64
	// Segment are their headers with the proof that the last one is final: [NewSegment] makes it for the native chain; for a
	// chain of the host's own it is what [Chain.Segment] reads.
	Segment []byte
	// Audit are the certificates of the single blocks, where the machine is set to audit; else empty.
	Audit []byte
	// Payloads are one for each header, in order.
	Payloads [][]byte
	// Handover is the one to the next epoch where the last block ends its own: without it the next block can't be proven.
	Handover []byte
}

// Decided answers [Machine.Submit].
type Decided struct {
	// ID is the one that the blocks were handed in with.
	ID uint64
	// Height is up to which all blocks are stored and executed; 0 where Err is not nil.
	Height uint64
	// Err says why the blocks were not taken in: a [*DecidedError], or nil.
	Err error
}

// Refusal says why decided blocks were not taken in. errors.Is finds it in a [DecidedError]. Nobody is blamed.
type Refusal uint32

// Refusals of decided blocks.
const (
	// RefusedStopped: the machine does not run. Blocks that came before it was stopped may be stored all the same.
	RefusedStopped Refusal = 0x1a01
	// RefusedHalted: the machine has stopped for good.
	RefusedHalted Refusal = 0x1a02
	// RefusedTooMany: as many wait already as may. The answer to one of them is to be waited for.
	RefusedTooMany Refusal = 0x1a03
	// RefusedTooLarge: fewer blocks are to be handed in at a time.
	RefusedTooLarge Refusal = 0x1a04
	// RefusedUnknownEpoch: the epoch of the blocks is not proven here yet.
	RefusedUnknownEpoch Refusal = 0x1a05
	// RefusedFalse: the blocks or their proof don't hold.
	RefusedFalse Refusal = 0x1a06
	// RefusedFalseHandover: the handover doesn't hold.
	RefusedFalseHandover Refusal = 0x1a07
	// RefusedOverlap: some of the blocks are here already, and some are not.
	RefusedOverlap Refusal = 0x1a08
	// RefusedContradicted: another block was proven at this height, and the two proofs did not both hold when checked again.
	RefusedContradicted Refusal = 0x1a09
)

// Error makes a refusal an error.
func (r Refusal) Error() string {
	return fmt.Sprintf("hs2sync: decided blocks were refused (%#04x)", uint32(r))
}

// DecidedError is a refusal of decided blocks, with words for people.
type DecidedError struct {
	Refusal Refusal
	// Fault says what is false, with RefusedFalse and RefusedFalseHandover; else 0.
	Fault Fault
	// Height is the first block that is missing with RefusedOverlap, and the block concerned with RefusedUnknownEpoch and
	// RefusedContradicted; else 0.
	Height uint64
	Text   string
}

func (e *DecidedError) Error() string { return "hs2sync: " + e.Text }

// Is reports whether target is the refusal, or the fault.
func (e *DecidedError) Is(target error) bool {
	switch target := target.(type) {
	case Refusal:
		return target == e.Refusal
	case Fault:
		return e.Fault != 0 && target == e.Fault
	default:
		return false
	}
}

// answer reads what the machine says of decided blocks, but for the words.
func answer(id uint64, code, detail uint32, height uint64) Decided {
	if code == 0 {
		return Decided{ID: id, Height: height}
	}
	return Decided{ID: id, Err: &DecidedError{Refusal: Refusal(code), Fault: Fault(detail), Height: height}}
}

// blocks puts decided blocks together, in a frozen buffer of the library.
func (f *frame) blocks(blocks DecidedBlocks) (uint64, error) {
	segment, err := f.slice(blocks.Segment)
	if err != nil {
		return 0, err
	}
	audit, err := f.slice(blocks.Audit)
	if err != nil {
		return 0, err
	}
	payloads, err := f.list(blocks.Payloads)
	if err != nil {
		return 0, err
	}
	return f.handle(fnBlocksNew, segment, audit, payloads, uint64(len(blocks.Payloads)))
}

// submission is what [Node.Submit] brings to the loop, and where its answer goes.
type submission struct {
	blocks DecidedBlocks
	answer chan<- Decided
}

// desk is where the loop of a node takes submissions, and words for its gate.
type desk struct {
	handed chan submission
	words  chan func()
	// over is closed when the node has ended.
	over chan struct{}
}

func (n *Node) desk() *desk {
	n.opened.Do(func() {
		n.front = &desk{handed: make(chan submission), words: make(chan func()), over: make(chan struct{})}
	})
	return n.front
}

// Submit hands in blocks that this node's own consensus engine has decided, and returns once they are stored and executed,
// with the height up to which all are: they survive a crash then. They are proven as a peer's are, and go the same way, by
// [Store.StoreBlocks] and [Node.Execute]: the engine stores nothing by itself. Blocks may be handed in from several
// goroutines, ahead of the answers to those below them; an engine with gaps is filled up by peers.
//
// A node that does not run yet takes them when it does. The error is a [*DecidedError] where the blocks are refused,
// [ErrClosed] where the node has ended, or that of ctx; in the last two cases the blocks may be stored all the same.
func (n *Node) Submit(ctx context.Context, blocks DecidedBlocks) (uint64, error) {
	desk := n.desk()
	answers := make(chan Decided, 1)
	select {
	case desk.handed <- submission{blocks: blocks, answer: answers}:
	case <-desk.over:
		return 0, ErrClosed
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	select {
	case answer := <-answers:
		return answer.Height, answer.Err
	case <-desk.over:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	// The answer may have come at the same moment.
	select {
	case answer := <-answers:
		return answer.Height, answer.Err
	default:
		return 0, ErrClosed
	}
}

// take hands a submission to the machine.
func (n *Node) take(now time.Duration, handed submission) {
	n.submitted++
	if err := n.machine.Submit(now, n.submitted, handed.blocks); err != nil {
		handed.answer <- Decided{ID: n.submitted, Err: err}
		return
	}
	n.unanswered[n.submitted] = handed.answer
}

// decided passes an answer of the machine on.
func (n *Node) decided(answer Decided) {
	if waiting, ok := n.unanswered[answer.ID]; ok {
		delete(n.unanswered, answer.ID)
		waiting <- answer
	}
}
