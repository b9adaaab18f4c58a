package pebblestore

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/cockroachdb/pebble/v2"
	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// Get is the value of a key of a state: see [hs2sync.StateStore].
func (s *Store) Get(key []byte) ([]byte, error) {
	return read(s, func(rows rows) ([]byte, error) { return rows.Get(key) })
}

// Next is the entry of a state with the lowest key that is not below from and not above to.
func (s *Store) Next(from, to []byte) (key, value []byte, err error) {
	if err := s.use(); err != nil {
		return nil, nil, err
	}
	defer s.life.RUnlock()
	return rows{s.db}.Next(from, to)
}

// Write makes changes of a state, all or none. They survive a crash once [Store.Sync] has returned, or whatever was written
// after them and acknowledged.
func (s *Store) Write(changes []hs2sync.Change) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, change := range changes {
		err := error(nil)
		if change.Deleted {
			err = batch.Delete(stateKey(change.Key), nil)
		} else {
			err = batch.Set(stateKey(change.Key), change.Value, nil)
		}
		if err != nil {
			return err
		}
	}
	return batch.Commit(pebble.NoSync)
}

// Sync returns once everything that was written survives a crash.
func (s *Store) Sync() error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	return s.db.LogData(nil, pebble.Sync)
}

// view is a snapshot of the database, for one goroutine at a time.
type view struct {
	rows
	store    *Store
	snapshot *pebble.Snapshot
	// states goes through the states; nil before the first look.
	states *pebble.Iterator
}

// Next is that of the rows, by one iterator for all questions.
func (v *view) Next(from, to []byte) (key, value []byte, err error) {
	if v.states == nil {
		bounds := &pebble.IterOptions{LowerBound: []byte{kindState}, UpperBound: []byte{kindState + 1}}
		if v.states, err = v.snapshot.NewIter(bounds); err != nil {
			return nil, nil, err
		}
	}
	if !v.states.SeekGE(stateKey(from)) || bytes.Compare(v.states.Key()[1:], to) > 0 {
		return nil, nil, v.states.Error()
	}
	found, err := v.states.ValueAndErr()
	return append([]byte{}, v.states.Key()[1:]...), append([]byte{}, found...), err
}

func (v *view) Close() (err error) {
	defer v.store.life.RUnlock()
	if v.states != nil {
		err = v.states.Close()
	}
	return errors.Join(err, v.snapshot.Close())
}

// Write refuses: a view is read only.
func (v *view) Write([]hs2sync.Change) error {
	return errors.New("pebblestore: a view can't be written to")
}

// View is the store as it stands now. The store can't be closed before the view is.
func (s *Store) View() (hs2sync.StateView, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	snapshot := s.db.NewSnapshot()
	return &view{rows: rows{snapshot}, store: s, snapshot: snapshot}, nil
}

// Prepare keeps a base before its state is made live.
func (s *Store) Prepare(base hs2sync.Base) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	return s.db.Set(keyPrepared, encodeBase(base), pebble.Sync)
}

// Prepared is the base that was kept and not taken up yet; nil where there is none.
func (s *Store) Prepared() (*hs2sync.Base, error) {
	return read(s, func(rows rows) (*hs2sync.Base, error) { return rows.base(keyPrepared) })
}

// Discard forgets the base that was kept.
func (s *Store) Discard() error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	return s.db.Delete(keyPrepared, pebble.Sync)
}

// Rebase lets the stored blocks begin above the base, all of it or nothing.
func (s *Store) Rebase(base hs2sync.Base) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	tip, err := s.baseTip(base)
	if err != nil {
		return err
	}
	stored := &hs2sync.Stored{Height: base.Height, ID: base.ID, Tip: tip}
	height := binary.BigEndian.AppendUint64(nil, base.Height)
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, kind := range []byte{kindBlock, kindSegment} {
		err = errors.Join(err, batch.DeleteRange([]byte{kind}, []byte{kind + 1}, nil))
	}
	set := func(key, value []byte) { err = errors.Join(err, batch.Set(key, value, nil)) }
	set(keyStored, encodeStored(*stored, base.Segment.Epoch))
	set(keyApplied, height)
	set(keyFirst, binary.BigEndian.AppendUint64(nil, base.Height+1))
	set(keyBase, encodeBase(base))
	if tip != nil {
		set(keyTip, append(height, tip...))
	} else {
		err = errors.Join(err, batch.Delete(keyTip, nil))
	}
	if err := errors.Join(err, batch.Delete(keyPrepared, nil), batch.Commit(pebble.Sync)); err != nil {
		return err
	}
	s.position.Stored, s.position.Applied = stored, base.Height
	s.first, s.epoch = base.Height+1, base.Segment.Epoch
	return nil
}

// baseTip is the message that proves the base's own block; nil where only a block above it is proven.
func (s *Store) baseTip(base hs2sync.Base) ([]byte, error) {
	switch {
	case base.Segment.Last != base.Height:
		return nil, nil
	case len(base.Tip) > 0:
		return base.Tip, nil
	default:
		return hs2sync.SegmentTip(s.rules, base.Segment.Segment)
	}
}
