package hs2sync

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Config are settings of a machine by their names, as `hs2-sync` has them: {"memory_budget": "64 MiB"}. What is not named
// has its default.
type Config map[string]string

// Stored is the highest block that is stored durably.
type Stored struct {
	Height uint64
	ID     ID
	// TimestampMs is the time in its header; 0 where it is not known.
	TimestampMs uint64
	// Tip is the message that proves it, if it was kept.
	Tip []byte
}

// Anchor is where a node of a chain of the host's own begins: a block that it trusts, and that block's epoch.
type Anchor struct {
	Height uint64
	ID     ID
	// Epoch is the epoch's number, First and Last its heights, and EncodedEpoch the epoch as the chain reads it.
	Epoch, First, Last uint64
	EncodedEpoch       []byte
}

// Start is where a node stands.
type Start struct {
	Rules Rules
	// Anchor is where a node of a chain of the host's own begins; nil for a native one, which begins at its genesis.
	Anchor *Anchor
	// Stored is the highest stored block; nil on a new node.
	Stored *Stored
	// Applied is the height that the application has executed durably, if that is below the stored one.
	Applied *uint64
	// Links are the stored handovers, in order.
	Links []Link
	// States says that the host keeps states ([State]), so that the machine may fetch one; LacksState, that it has none to
	// execute blocks on, as on a node that begins at a checkpoint: then one is fetched first, whatever the strategy.
	States, LacksState bool
	// Trust holds the chain's trusting period: no machine is made of what is older, and one whose trust grows that old while
	// it runs halts. Nil takes any age, which accepts long-range attacks.
	Trust *Trust
}

// Trust is for how long what a validator set has signed proves anything, and the time of day, by which that is judged.
type Trust struct {
	Period time.Duration
	Wall   time.Time
}

// Machine is the synchronization of one node, without a network, a clock or a disk: facts go in, work comes out. Times are
// since a moment of the host's choice, and never run backwards. Methods may be called from any goroutine; each waits for the
// one before.
type Machine struct {
	mutex  sync.Mutex
	f      *frame
	handle uint64
	rules  Rules
}

// NewMachine makes a machine. The seed is the machine's only randomness.
func NewMachine(config Config, start Start, seed uint64, now time.Duration) (*Machine, error) {
	f, err := openFrame()
	if err != nil {
		return nil, err
	}
	machine := &Machine{f: f, rules: start.Rules}
	machine.handle, err = f.newMachine(config, start, seed, now)
	if err != nil {
		f.shut()
		return nil, err
	}
	return machine, nil
}

func (f *frame) newMachine(config Config, start Start, seed uint64, now time.Duration) (uint64, error) {
	settings, err := f.handle(fnConfigNew)
	if err != nil {
		return 0, err
	}
	defer f.release(settings)
	for name, value := range config {
		f.begin()
		key, err := f.text(name)
		if err != nil {
			return 0, err
		}
		text, err := f.text(value)
		if err != nil {
			return 0, err
		}
		if err := f.do(fnConfigSet, settings, key, text); err != nil {
			return 0, err
		}
	}
	f.begin()
	draft, err := f.draft(start)
	if err != nil {
		return 0, err
	}
	defer f.release(draft)
	return f.handle(fnMachineNew, settings, draft, seed, micros(now))
}

// draft puts together where a node stands.
func (f *frame) draft(start Start) (draft uint64, err error) {
	if start.Rules.Own != nil {
		anchor := start.Anchor
		if anchor == nil {
			return 0, errors.New("hs2sync: a chain of the host's own needs an anchor to start from")
		}
		epoch, err := f.slice(anchor.EncodedEpoch)
		if err != nil {
			return 0, err
		}
		draft, err = f.handle(fnStartOwn, f.id(start.Rules.ChainID), anchor.Height, f.id(anchor.ID), anchor.Epoch,
			anchor.First, anchor.Last, epoch)
		if err != nil {
			return 0, err
		}
	} else {
		if start.Rules.Genesis == nil {
			return 0, errors.New("hs2sync: Rules have neither a genesis document nor a chain")
		}
		handles, err := f.native(start.Rules.Genesis)
		if err != nil {
			return 0, err
		}
		if draft, err = f.handle(fnStartNew, handles.genesis); err != nil {
			return 0, err
		}
	}
	if err := f.fill(draft, start); err != nil {
		f.release(draft)
		return 0, err
	}
	return draft, nil
}

func (f *frame) fill(draft uint64, start Start) error {
	for _, link := range start.Links {
		f.begin()
		at := f.room(80 + 4*f.word())
		if err := f.setLink(at, link); err != nil {
			return err
		}
		if err := f.do(fnStartLink, draft, at); err != nil {
			return fmt.Errorf("the handover at the end of epoch %d: %w", link.Ended, err)
		}
	}
	f.begin()
	if stored := start.Stored; stored != nil {
		tip, err := f.slice(stored.Tip)
		if err != nil {
			return err
		}
		if err := f.do(fnStartStored, draft, stored.Height, f.id(stored.ID), stored.TimestampMs, tip); err != nil {
			return err
		}
	}
	if start.Applied != nil {
		if err := f.do(fnStartApplied, draft, *start.Applied); err != nil {
			return err
		}
	}
	if start.States || start.LacksState {
		if err := f.do(fnStartStates, draft, flag(start.LacksState)); err != nil {
			return err
		}
	}
	if trust := start.Trust; trust != nil {
		return f.do(fnStartTrust, draft, millis(trust.Period), wallMs(trust.Wall))
	}
	return nil
}

// setLink writes a link to an address.
func (f *frame) setLink(out uint64, link Link) error {
	epoch, err := f.put(link.EncodedEpoch)
	if err != nil {
		return err
	}
	handover, err := f.put(link.Handover)
	if err != nil {
		return err
	}
	w := f.write(out, 80+4*f.word())
	w.setU64(link.Ended)
	w.setU64(link.Boundary)
	w.setID(link.BoundaryID)
	w.setU64(link.Epoch)
	w.setU64(link.First)
	w.setU64(link.Last)
	w.setU64(link.BoundaryTimeMs)
	w.setAddress(epoch)
	w.setAddress(uint64(len(link.EncodedEpoch)))
	w.setAddress(handover)
	w.setAddress(uint64(len(link.Handover)))
	return nil
}

func micros(now time.Duration) uint64 { return uint64(max(now, 0) / time.Microsecond) }

func duration(us uint64) time.Duration {
	const most = uint64(1<<63-1) / 1000
	return time.Duration(min(us, most)) * time.Microsecond
}

// use has the machine's instance do something.
func (m *Machine) use(do func(f *frame) error) error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.f == nil {
		return ErrClosed
	}
	m.f.begin()
	return do(m.f)
}

func (m *Machine) tell(fn function, words ...uint64) error {
	return m.tellAbout(m.handle, fn, words...)
}

// tellAbout tells something of this instance.
func (m *Machine) tellAbout(handle uint64, fn function, words ...uint64) error {
	return m.use(func(f *frame) error { return f.do(fn, append([]uint64{handle}, words...)...) })
}

// Start begins, or goes on after [Machine.Stop]. Downloads end with the first proven segment that holds the height until;
// [Never] follows the network for ever.
func (m *Machine) Start(now time.Duration, until uint64) error {
	return m.tell(fnMachineStart, micros(now), until)
}

// Stop cancels requests and jobs. Calls that are out are still to be answered.
func (m *Machine) Stop(now time.Duration) error { return m.tell(fnMachineStop, micros(now)) }

// Timeout says that time has passed.
func (m *Machine) Timeout(now time.Duration) error { return m.tell(fnMachineTimeout, micros(now)) }

// Wall says the time of day, on a chain with a trusting period, where it was set or this computer has slept.
func (m *Machine) Wall(now time.Duration, wall time.Time) error {
	return m.tell(fnMachineWall, micros(now), wallMs(wall))
}

// Connected says that a connection to a peer stands. Peers with the same group number count as one where independence
// matters: an address prefix, for example.
func (m *Machine) Connected(now time.Duration, peer ID, group uint64) error {
	return m.use(func(f *frame) error { return f.do(fnMachineConnected, m.handle, micros(now), f.id(peer), group) })
}

// Disconnected says that a peer has gone.
func (m *Machine) Disconnected(now time.Duration, peer ID) error {
	return m.use(func(f *frame) error { return f.do(fnMachineDisconnected, m.handle, micros(now), f.id(peer)) })
}

// Pardoned says that the host lifts a ban.
func (m *Machine) Pardoned(now time.Duration, peer ID) error {
	return m.use(func(f *frame) error { return f.do(fnMachinePardoned, m.handle, micros(now), f.id(peer)) })
}

// Response brings the answer to a request.
func (m *Machine) Response(now time.Duration, request uint64, answer []byte) error {
	return m.use(func(f *frame) error {
		buffer, err := f.give(answer)
		if err != nil {
			return err
		}
		defer f.release(buffer)
		return f.do(fnMachineResponse, m.handle, micros(now), request, buffer)
	})
}

// Failed says that a request won't be answered.
func (m *Machine) Failed(now time.Duration, request uint64, failure RequestFailure) error {
	return m.tell(fnMachineFailure, micros(now), request, uint64(failure))
}

// Begun says that a goroutine begins to run a job: from now on its time counts.
func (m *Machine) Begun(now time.Duration, job uint64) error {
	return m.tell(fnMachineBegun, micros(now), job)
}

// Verdict brings what a job found.
func (m *Machine) Verdict(now time.Duration, verdict *Verdict) error {
	return m.use(func(f *frame) error {
		handle, err := f.decoded(fnVerdictDecode, verdict.encoded)
		if err != nil {
			return err
		}
		defer f.release(handle)
		return f.do(fnMachineVerdict, m.handle, micros(now), handle)
	})
}

// Submit hands in blocks that this node's own engine has decided. A [Decided] with the same id, which the caller chooses, is
// the answer; an error says that nothing was handed in.
func (m *Machine) Submit(now time.Duration, id uint64, blocks DecidedBlocks) error {
	return m.use(func(f *frame) error {
		buffer, err := f.blocks(blocks)
		if err != nil {
			return err
		}
		defer f.release(buffer)
		handover, err := f.slice(blocks.Handover)
		if err != nil {
			return err
		}
		return f.do(fnMachineDecided, m.handle, micros(now), id, blocks.First, buffer, handover)
	})
}

// Applied answers a call to apply or replay: blocks up to the height through are stored and executed durably, and stopped
// says why no further, 0 where it is the last one of the call. With [StateMismatch], at is the block whose state has
// another root.
func (m *Machine) Applied(now time.Duration, call, through uint64, stopped HostError, at uint64) error {
	return m.tell(fnMachineApplied, micros(now), call, through, uint64(stopped), at)
}

// Stored answers a call to store handovers; with an error it answers any other call too, of which nothing has come then.
func (m *Machine) Stored(now time.Duration, call uint64, failed HostError) error {
	return m.tell(fnMachineStored, micros(now), call, uint64(failed))
}

// Done answers a call about a state, with what [State.CarryOut] gave.
func (m *Machine) Done(now time.Duration, done []byte) error {
	return m.use(func(f *frame) error {
		slice, err := f.slice(done)
		if err != nil {
			return err
		}
		return f.do(fnMachineDone, m.handle, micros(now), slice)
	})
}

// Poll takes out the next output. After each fact it is to be called until it gives a [Wait].
func (m *Machine) Poll() (output Output, err error) {
	err = m.use(func(f *frame) error {
		words, err := f.output(fnMachinePoll, m.handle)
		if err != nil {
			return err
		}
		output, err = m.read(f, words.kind, words.object, func() Output {
			if words.kind == 0x0109 {
				return answer(words.id, words.code, words.detail, words.height)
			}
			return words.plain(words.kind - 0x0100)
		})
		return err
	})
	return output, err
}

// outputWords are what the library says is to be done next, of a machine or a light client.
type outputWords struct {
	kind, code, detail     uint32
	id, object             uint64
	peer                   ID
	most, deadline, height uint64
}

func (f *frame) output(poll function, handle uint64) (outputWords, error) {
	const size = 104
	out := f.room(size)
	if err := f.do(poll, handle, out); err != nil {
		return outputWords{}, err
	}
	r := f.read(out, size)
	words := outputWords{kind: r.u32(), code: r.u32(), detail: r.u32()}
	r.u32()
	words.id, words.object, words.peer = r.u64(), r.u64(), r.id()
	words.most, words.deadline, words.height = r.u64(), r.u64(), r.u64()
	return words, nil
}

// plain is an output without what its object holds, by its number among those of a machine.
func (w outputWords) plain(kind uint32) Output {
	switch kind {
	case 1:
		return Request{ID: w.id, Peer: w.peer, MaxResponseBytes: w.most}
	case 2:
		return CancelRequest{ID: w.id}
	case 3:
		return Verify{Job: &Job{ID: w.id, Height: w.height}}
	case 4:
		return CancelJob{ID: w.id}
	case 6:
		return Penalize{Peer: w.peer, Kind: PenaltyKind(w.code), Code: w.detail, Until: duration(w.deadline)}
	case 8:
		return Wait{Deadline: duration(w.deadline), Ever: w.deadline != Never}
	default:
		return Event{Code: w.code, Detail: w.detail, Height: w.height, Peer: w.peer}
	}
}

// read completes an output with what its object holds, and gives that back.
func (m *Machine) read(f *frame, kind uint32, object uint64, plain func() Output) (Output, error) {
	if kind == 0x0105 {
		defer f.release(object)
		return m.call(f, object)
	}
	switch output := plain().(type) {
	case Decided:
		if refused := output.Err; refused != nil {
			words, err := f.take(object)
			refused.(*DecidedError).Text = string(words)
			return output, err
		}
		return output, nil
	default:
		return f.complete(output, object)
	}
}

// complete reads what the object of an output holds, and gives that back.
func (f *frame) complete(output Output, object uint64) (Output, error) {
	switch output := output.(type) {
	case Request:
		bytes, err := f.take(object)
		output.Bytes = bytes
		return output, err
	case Event:
		words, err := f.take(object)
		output.Text = string(words)
		return output, err
	case Verify:
		defer f.release(object)
		encoded, err := f.bytes(fnJobEncode, object)
		output.Job.encoded = encoded
		return output, err
	default:
		return output, nil
	}
}

// Progress says how far the synchronization is.
func (m *Machine) Progress() (progress Progress, err error) {
	err = m.use(func(f *frame) error {
		const size = 120
		out := f.room(size)
		if err := f.do(fnMachineProgress, m.handle, out); err != nil {
			return err
		}
		r := f.read(out, size)
		for _, field := range []*uint64{&progress.Start, &progress.Current, &progress.Target, &progress.Claimed,
			&progress.TipTimeMs, &progress.BlocksPerSecond, &progress.RemainingUs, &progress.PayloadBytes,
			&progress.UsefulBytes, &progress.DuplicateBytes, &progress.QuorumChecks, &progress.BufferedBytes,
			&progress.Strays} {
			*field = r.u64()
		}
		progress.Strategy, progress.Bottleneck, progress.Stall = r.u32(), r.u32(), r.u32()
		progress.Halted = r.u32() != 0
		return nil
	})
	return progress, err
}

// Evidence is the proof of two final blocks at one height, once the machine has halted for that.
func (m *Machine) Evidence() (evidence []byte, err error) {
	err = m.use(func(f *frame) error {
		evidence, err = f.bytes(fnMachineEvidence, m.handle)
		return err
	})
	return evidence, err
}

// Close gives everything back. Later calls return [ErrClosed].
func (m *Machine) Close() error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.f == nil {
		return nil
	}
	m.f.begin()
	m.f.release(m.handle)
	m.f.shut()
	m.f = nil
	return nil
}
