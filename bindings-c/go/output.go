package hs2sync

import (
	"sync"
	"time"
)

// Output is something that the machine says or wants: a [Request], [CancelRequest], [Verify], [CancelJob], [Call],
// [Penalize], [Event], [Decided], or last [Wait].
type Output interface{ output() }

// Request asks a peer. It is to be answered with [Machine.Response] or [Machine.Failed].
type Request struct {
	ID   uint64
	Peer ID
	// Bytes are to be sent.
	Bytes []byte
	// MaxResponseBytes is after how many bytes of an answer to stop reading and say [Oversize].
	MaxResponseBytes uint64
}

// CancelRequest says that an answer is not wanted any more.
type CancelRequest struct{ ID uint64 }

// Verify gives out a job for any goroutine: [Job.Run].
type Verify struct{ Job *Job }

// CancelJob says that a verdict is not wanted any more.
type CancelJob struct{ ID uint64 }

// Work is what a call asks for.
type Work uint32

// Kinds of work.
const (
	// WorkApply: store blocks, then execute them. Answered with [Machine.Applied].
	WorkApply Work = 0x0201
	// WorkReplay: execute blocks that are stored and not executed. Answered with [Machine.Applied].
	WorkReplay Work = 0x0202
	// WorkStoreHandovers: store handovers. Answered with [Machine.Stored].
	WorkStoreHandovers Work = 0x0203
	// WorkSurvey, WorkStage and WorkActivate: find, keep and make live what a fetched state is put together from. Carried out by
	// [State.CarryOut], and answered with [Machine.Done].
	WorkSurvey   Work = 0x0204
	WorkStage    Work = 0x0205
	WorkActivate Work = 0x0206
)

// Block is a block to store and execute: final and verified.
type Block struct {
	Height uint64
	ID     ID
	// TimestampMs is when it was proposed, in milliseconds since 1970; 0 for a chain without time.
	TimestampMs uint64
	// StateRoot is the root that the state must have after it.
	StateRoot ID
	Payload   []byte
}

// Call is work for the host's store and application. It is answered when what it asks for survives a crash, and not
// before: the machine never asks for it again. Calls are carried out in the order in which they come.
type Call struct {
	ID   uint64
	Work Work
	// First and Last are the heights of blocks to apply or replay.
	First, Last uint64
	// Blocks are those of a WorkApply, in order; Segments the headers that they come from; Tip the message that proves the
	// last block final, where its segment doesn't.
	Blocks   []Block
	Segments []StoredSegment
	Tip      []byte
	// Handovers are those of a WorkStoreHandovers.
	Handovers []Link
	// Base is the block of a WorkActivate.
	Base *Base

	// encoded is the whole call, where it is about a state.
	encoded []byte
}

// PenaltyKind is what is done to a peer.
type PenaltyKind uint32

// Penalties.
const (
	// Ban: the peer gave what is provably false.
	Ban PenaltyKind = 0x0801
	// Exclude: the peer is of no use for a while.
	Exclude PenaltyKind = 0x0802
	// Lift: the peer may come back.
	Lift PenaltyKind = 0x0803
)

// Penalize says what is to be done to a peer.
type Penalize struct {
	Peer ID
	Kind PenaltyKind
	// Code is the fault or the reason; [CodeName] has its name.
	Code uint32
	// Until is when the peer may come back, by the host's clock.
	Until time.Duration
}

// Event is news for people. A host that drops all events behaves the same.
type Event struct {
	// Code says what happened, and Detail why; [CodeName] has their names.
	Code, Detail uint32
	// Height and Peer are what it is about, where it is about such a thing.
	Height uint64
	Peer   ID
	// Text says it in words.
	Text string
}

// Events that a program may look for.
const (
	EventReached uint32 = 0x0b08
	EventBanned  uint32 = 0x0b0b
	EventHalted  uint32 = 0x0b0d
)

// Wait says that there is nothing to do until a fact comes, or until Deadline, at which [Machine.Timeout] is to be said.
type Wait struct {
	// Deadline is by the host's clock. Ever is false where there is none.
	Deadline time.Duration
	Ever     bool
}

func (Request) output()       {}
func (CancelRequest) output() {}
func (Verify) output()        {}
func (CancelJob) output()     {}
func (*Call) output()         {}
func (Penalize) output()      {}
func (Event) output()         {}
func (Decided) output()       {}
func (Wait) output()          {}

// RequestFailure is why a request won't be answered.
type RequestFailure uint32

// Failures of requests.
const (
	// Oversize: more bytes came than were asked for, which is provably false.
	Oversize RequestFailure = 0x0701
	// Broken: the connection or its stream broke.
	Broken RequestFailure = 0x0702
)

// HostError is why a call was not carried out; 0 where it was.
type HostError uint32

// Errors of hosts.
const (
	// Transient: it may work later.
	Transient HostError = 0x0401
	// Permanent: it will not work without help.
	Permanent HostError = 0x0402
	// StateMismatch: the application's state has another root than the network agreed on.
	StateMismatch HostError = 0x0403
	// NoSpace: the disk is full.
	NoSpace HostError = 0x0404
)

// Progress is how far a synchronization is.
type Progress struct {
	// Start is the height at the start, Current what is stored and executed, Target the highest proven height, and Claimed
	// the highest that a peer claims, which proves nothing.
	Start, Current, Target, Claimed uint64
	// TipTimeMs is the time in the target's header, in milliseconds since 1970; 0 where it is not known.
	TipTimeMs       uint64
	BlocksPerSecond uint64
	// RemainingUs is the time that is likely left in microseconds; [Never] while that can't be said.
	RemainingUs                                             uint64
	PayloadBytes, UsefulBytes, DuplicateBytes, QuorumChecks uint64
	BufferedBytes, Strays                                   uint64
	// Strategy, Bottleneck and Stall are codes; [CodeName] has their names. Stall is 0 while something moves.
	Strategy, Bottleneck, Stall uint32
	// Halted is true once the machine has stopped for good.
	Halted bool
}

var codeNames sync.Map

// CodeName is the name of a code: of an event, a fault, a reason. Empty for a number that is none.
func CodeName(code uint32) string {
	if name, ok := codeNames.Load(code); ok {
		return name.(string)
	}
	var name string
	err := with(func(f *frame) error {
		out := f.room(2 * f.word())
		if err := f.do(fnCodeName, uint64(code), out); err != nil {
			return err
		}
		name = string(f.copied(out))
		return nil
	})
	if err == nil {
		codeNames.Store(code, name)
	}
	return name
}
