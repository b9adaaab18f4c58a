package hs2sync

import (
	"errors"
	"fmt"
	"sync"
)

// Change sets or deletes one key.
type Change struct {
	Key, Value []byte
	// Deleted says that the key has no value any more.
	Deleted bool
}

// StateStore is an ordered store of the host's, in which the library keeps a state: its keys and values, the tree over them,
// snapshots for others, and a state that is being fetched. Keys have at most 64 bytes and are ordered as [bytes.Compare] orders
// them; they belong to the library. Package pebblestore has one.
type StateStore interface {
	// Get is the value of a key; nil where there is none.
	Get(key []byte) ([]byte, error)
	// Next is the entry with the lowest key that is not below from and not above to; a nil key where there is none.
	Next(from, to []byte) (key, value []byte, err error)
	// Write makes changes, each of another key: all of them or none, also where the process or the machine dies. A write that
	// survives has all those before it, and all survive once [StateKeeper.Sync] has returned.
	Write(changes []Change) error
}

// Base is the block whose state was fetched: stored blocks begin above it.
type Base struct {
	Height uint64
	ID     ID
	// StateRoot is the root of the state after it.
	StateRoot ID
	// Segment are verified headers that begin with the block's own; they prove it to others.
	Segment StoredSegment
	// Tip proves the last of them final, where the segment doesn't; else nil.
	Tip []byte
}

// StatePosition is where a state stands.
type StatePosition struct {
	// Height is that of the block that left it, and Root its root.
	Height uint64
	Root   ID
	// Keys is how many keys have a value, and Bytes what keys and values take.
	Keys, Bytes uint64
	// OldestSnapshot and NewestSnapshot are the snapshots that others are served; 0 for none.
	OldestSnapshot, NewestSnapshot uint64
}

// State is a state in a store: an application executes blocks on it, and the library fetches it and serves it. Methods may be
// called from any goroutine; each that writes waits for the one before.
type State struct {
	store    StateStore
	interval uint64
	mutex    sync.Mutex
}

// NewState is the state that a store holds. The states after blocks at multiples of the chain's snapshot interval
// ([Genesis.SnapshotInterval]) are kept for others, the newest two of them; 0 keeps none.
func NewState(store StateStore, interval uint64) *State {
	return &State{store: store, interval: interval}
}

// Apply applies the changes of the block at a height, durably once the store was synced, and gives the root after it. Where
// expected is not nil and another, nothing is written, and the error is a [*MismatchError]. Heights rise; the first may be 0,
// for what the state begins with. Keys have at most 1,024 bytes and values 65,536.
func (s *State) Apply(height uint64, changes []Change, expected *ID) (root ID, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	err = s.use(func(f *frame, store uint64) error {
		at, err := f.changes(changes)
		if err != nil {
			return err
		}
		want := uint64(0)
		if expected != nil {
			want = f.id(*expected)
		}
		out := f.room(32)
		f.mark()
		if err := f.do(fnStateApply, store, height, s.interval, at, uint64(len(changes)), want, out); err != nil {
			return err
		}
		r := f.read(out, 32)
		root = r.id()
		return nil
	})
	if expected != nil && errors.Is(err, StatusRefused) {
		return ID{}, fmt.Errorf("%w: %w", &MismatchError{Height: height}, err)
	}
	return root, err
}

// Get is the value of a key in the newest state; nil where it has none.
func (s *State) Get(key []byte) (value []byte, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	err = s.use(func(f *frame, store uint64) error {
		slice, err := f.slice(key)
		if err != nil {
			return err
		}
		out := f.room(8)
		f.mark()
		if err := f.do(fnStateGet, store, slice, out); err != nil {
			return err
		}
		taken, err := f.take(f.u64(out))
		value = append([]byte{}, taken...)
		return err
	})
	if errors.Is(err, StatusNotFound) {
		return nil, nil
	}
	return value, err
}

// Position is where the state stands; nil before the first block.
func (s *State) Position() (position *StatePosition, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	err = s.use(func(f *frame, store uint64) error {
		const size = 72
		out := f.room(size)
		f.mark()
		if err := f.do(fnStateRead, store, out); err != nil {
			return err
		}
		r := f.read(out, size)
		found := StatePosition{Height: r.u64(), Root: r.id(), Keys: r.u64(), Bytes: r.u64()}
		found.OldestSnapshot, found.NewestSnapshot = r.u64(), r.u64()
		position = &found
		return nil
	})
	if errors.Is(err, StatusNotFound) {
		return nil, nil
	}
	return position, err
}

// CarryOut carries out a call of the work [WorkSurvey], [WorkStage] or [WorkActivate]; what it gives is for [Machine.Done].
func (s *State) CarryOut(call *Call) (done []byte, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	err = s.use(func(f *frame, store uint64) error {
		handle, err := f.decoded(fnCallDecode, call.encoded)
		if err != nil {
			return err
		}
		defer f.release(handle)
		out := f.room(8)
		f.mark()
		if err := f.do(fnStateCarryOut, handle, store, out); err != nil {
			return err
		}
		done, err = f.take(f.u64(out))
		return err
	})
	return done, err
}

// use has an instance work with the store. A failure of the store's own is in the error.
func (s *State) use(do func(f *frame, store uint64) error) error {
	return with(func(f *frame) error {
		err := do(f, f.hostStates(s.store))
		if err != nil && f.tables.failed != nil {
			return fmt.Errorf("%w: %w", err, f.tables.failed)
		}
		return err
	})
}

// changes is the address of changes in a row.
func (f *frame) changes(changes []Change) (uint64, error) {
	if len(changes) == 0 {
		return 0, nil
	}
	var all []byte
	for _, change := range changes {
		all = append(append(all, change.Key...), change.Value...)
	}
	at, err := f.put(all)
	if err != nil {
		return 0, err
	}
	size := int(4*f.word() + 8)
	rows := make([]byte, size*len(changes))
	for i, change := range changes {
		w := layout{bytes: rows[i*size : (i+1)*size], word: f.word()}
		w.setAddress(at)
		w.setAddress(uint64(len(change.Key)))
		w.setAddress(at + uint64(len(change.Key)))
		w.setAddress(uint64(len(change.Value)))
		w.setU64(flag(change.Deleted))
		at += uint64(len(change.Key) + len(change.Value))
	}
	return f.put(rows)
}

// stateCall reads what a call about a state asks for.
func (f *frame) stateCall(handle uint64, call *Call) (err error) {
	if call.encoded, err = f.bytes(fnCallEncode, handle); err != nil || call.Work != WorkActivate {
		return err
	}
	size := 104 + 6*f.word()
	out := f.room(size)
	if err := f.do(fnCallBase, handle, out); err != nil {
		return err
	}
	r := f.read(out, size)
	base := &Base{Height: r.u64(), ID: r.id(), StateRoot: r.id()}
	base.Segment = StoredSegment{First: r.u64(), Last: r.u64(), Epoch: r.u64(), Certified: r.u64() != 0}
	base.Segment.Segment, base.Segment.Audit = f.copied(out+104), f.copied(out+104+2*f.word())
	base.Tip = f.copied(out + 104 + 4*f.word())
	call.Base = base
	return nil
}

// RespondWithState answers a peer's request as [Respond] does, and from the states that a store holds: pieces of its snapshots
// for nodes that fetch a state, and proven values for light clients. Reader and store show one moment: [StateKeeper.View].
func RespondWithState(rules Rules, reader Reader, states StateStore, request []byte) (answer []byte, err error) {
	err = with(func(f *frame) error {
		if rules.Genesis == nil {
			return errors.New("hs2sync: states are those of the native chain")
		}
		handles, err := f.native(rules.Genesis)
		if err != nil {
			return err
		}
		table := f.host(readerTable, reader, nil)
		store := f.hostStates(states)
		slice, err := f.slice(request)
		if err != nil {
			return err
		}
		out := f.room(8)
		f.mark()
		if err := f.do(fnRespondWithState, handles.chain, table, store, slice, out); err != nil {
			if failed := f.tables.failed; failed != nil {
				return fmt.Errorf("%w: %w", err, failed)
			}
			return err
		}
		answer, err = f.take(f.u64(out))
		return err
	})
	return answer, err
}
