// Package pebblestore is a durable store of hotstuff2-sync over Pebble: blocks, headers, handovers and the position. What a
// method has acknowledged was synced to disk.
//
// The database belongs to one process, which Pebble sees to by a lock. What it holds is believed: it was verified before it
// was stored. A record that can't be read is an error that names it.
package pebblestore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"
	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// Kinds of records: the first byte of a key. Numbers in keys are big-endian, so that they lie in order.
const (
	// kindBlock and a height: the block.
	kindBlock = 'b'
	// kindSegment and a last height: headers.
	kindSegment = 's'
	// kindLink and the epoch that ended: a handover.
	kindLink = 'l'
	// kindFact: one of a kind.
	kindFact = 'f'
	// kindState and a key of the library: states.
	kindState = 'z'
)

var (
	// keyChain is the chain's id, keyStored the highest stored block, keyTip the newest proof, keyApplied a height, keyFirst
	// the lowest stored height, keyBase the block whose state was fetched last, and keyPrepared one whose state may be live.
	keyChain    = []byte{kindFact, 'c'}
	keyStored   = []byte{kindFact, 's'}
	keyTip      = []byte{kindFact, 't'}
	keyApplied  = []byte{kindFact, 'a'}
	keyFirst    = []byte{kindFact, 'f'}
	keyBase     = []byte{kindFact, 'b'}
	keyPrepared = []byte{kindFact, 'p'}
)

// Store is a durable store of blocks and states. It is an [hs2sync.StateKeeper]; methods may be called from any goroutine.
type Store struct {
	db    *pebble.DB
	rules hs2sync.Rules

	// life is held for reading while the database is used, and for writing to close it.
	life   sync.RWMutex
	closed bool

	mutex    sync.RWMutex
	position hs2sync.Position
	first    uint64
	epoch    uint64
}

// Open opens the store of a chain in a folder, and makes it where there is none. A folder of another chain is an error.
func Open(folder string, rules hs2sync.Rules) (*Store, error) {
	db, err := pebble.Open(folder, &pebble.Options{Logger: quiet{}})
	if err != nil {
		return nil, fmt.Errorf("pebblestore: %s: %w", folder, err)
	}
	store := &Store{db: db, rules: rules}
	if err := store.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("pebblestore: %s: %w", folder, err), db.Close())
	}
	return store, nil
}

// quiet drops what Pebble says of its housekeeping. What is fatal ends the process, as Pebble asks for.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf("pebblestore: "+format, args...))
}

func key(kind byte, number uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kind}, number)
}

func (s *Store) load() error {
	id := s.rules.ID()
	switch found, err := s.get(keyChain); {
	case err != nil:
		return err
	case found == nil:
		if err := s.db.Set(keyChain, id[:], pebble.Sync); err != nil {
			return err
		}
	case hs2sync.ID(found) != id:
		return fmt.Errorf("the folder belongs to the chain %x, not to %s: choose another folder", found, id)
	}
	stored, err := s.get(keyStored)
	if err != nil {
		return err
	}
	if stored != nil {
		at, epoch, err := decodeStored(stored)
		if err != nil {
			return err
		}
		s.position.Stored, s.epoch = &at, epoch
		height, tip, err := rows{s.db}.tip()
		if err != nil {
			return err
		}
		if height == at.Height {
			s.position.Stored.Tip = tip
		}
	}
	for fact, to := range map[string]*uint64{string(keyApplied): &s.position.Applied, string(keyFirst): &s.first} {
		bytes, err := s.get([]byte(fact))
		if err != nil {
			return err
		}
		if len(bytes) == 8 {
			*to = binary.BigEndian.Uint64(bytes)
		}
	}
	return s.each(kindLink, 0, ^uint64(0), func(_ uint64, value []byte) error {
		link, err := decodeLink(value)
		s.position.Links = append(s.position.Links, link)
		return err
	})
}

// use keeps the database open until life is given back.
func (s *Store) use() error {
	s.life.RLock()
	if s.closed {
		s.life.RUnlock()
		return hs2sync.ErrClosed
	}
	return nil
}

// get is a copy of a record; nil where there is none.
func (s *Store) get(key []byte) ([]byte, error) {
	if err := s.use(); err != nil {
		return nil, err
	}
	defer s.life.RUnlock()
	return rows{s.db}.get(key)
}

// each gives the records of a kind from first to last, in order.
func (s *Store) each(kind byte, first, last uint64, do func(number uint64, value []byte) error) (err error) {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	return rows{s.db}.each(kind, first, last, do)
}

// Position is where the store stands.
func (s *Store) Position() (hs2sync.Position, error) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	position := s.position
	position.Links = append([]hs2sync.Link(nil), position.Links...)
	return position, nil
}

// StoreBlocks keeps the blocks of a call, all or none.
func (s *Store) StoreBlocks(call *hs2sync.Call) error {
	if len(call.Blocks) == 0 || len(call.Segments) == 0 {
		return errors.New("pebblestore: a call without blocks")
	}
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	first, last := call.Blocks[0], call.Blocks[len(call.Blocks)-1]
	if stored := s.position.Stored; stored != nil && first.Height > stored.Height+1 {
		return fmt.Errorf("pebblestore: block %d doesn't continue block %d", first.Height, stored.Height)
	}
	batch := s.db.NewBatch()
	defer batch.Close()
	set := func(key, value []byte) error { return batch.Set(key, value, nil) }
	for _, block := range call.Blocks {
		if err := set(key(kindBlock, block.Height), encodeBlock(block)); err != nil {
			return err
		}
	}
	for _, segment := range call.Segments {
		if err := set(key(kindSegment, segment.Last), encodeSegment(segment)); err != nil {
			return err
		}
	}
	end := call.Segments[len(call.Segments)-1]
	tip, err := s.proof(call, end)
	if err != nil {
		return err
	}
	stored := &hs2sync.Stored{Height: last.Height, ID: last.ID, TimestampMs: last.TimestampMs, Tip: tip}
	err = set(keyStored, encodeStored(*stored, end.Epoch))
	if tip != nil {
		err = errors.Join(err, set(keyTip, append(binary.BigEndian.AppendUint64(nil, last.Height), tip...)))
	}
	lowest := s.first
	if s.position.Stored == nil {
		lowest = first.Height
		err = errors.Join(err, set(keyFirst, binary.BigEndian.AppendUint64(nil, lowest)))
	}
	if err := errors.Join(err, batch.Commit(pebble.Sync)); err != nil {
		return err
	}
	s.position.Stored, s.epoch, s.first = stored, end.Epoch, lowest
	return nil
}

// proof is the message that proves the last block of a call final; nil where only a block above it is proven.
func (s *Store) proof(call *hs2sync.Call, end hs2sync.StoredSegment) ([]byte, error) {
	if len(call.Tip) > 0 || !end.Certified || end.Last != call.Last {
		return call.Tip, nil
	}
	return hs2sync.SegmentTip(s.rules, end.Segment)
}

// StoreHandovers keeps handovers, all or none.
func (s *Store) StoreHandovers(links []hs2sync.Link) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	batch := s.db.NewBatch()
	defer batch.Close()
	for _, link := range links {
		if err := batch.Set(key(kindLink, link.Ended), encodeLink(link), nil); err != nil {
			return err
		}
	}
	if err := batch.Commit(pebble.Sync); err != nil {
		return err
	}
	for _, link := range links {
		known := s.position.Links
		if len(known) == 0 || known[len(known)-1].Ended < link.Ended {
			s.position.Links = append(known, link)
		}
	}
	return nil
}

// SetApplied notes up to which height the application has executed durably.
func (s *Store) SetApplied(height uint64) error {
	if err := s.use(); err != nil {
		return err
	}
	defer s.life.RUnlock()
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if err := s.db.Set(keyApplied, binary.BigEndian.AppendUint64(nil, height), pebble.Sync); err != nil {
		return err
	}
	s.position.Applied = height
	return nil
}

// Blocks gives stored blocks in order.
func (s *Store) Blocks(first, last uint64, each func(hs2sync.Block) error) error {
	next := first
	err := s.each(kindBlock, first, last, func(height uint64, value []byte) error {
		block, err := decodeBlock(height, value)
		if err != nil {
			return err
		}
		if height != next {
			return fmt.Errorf("pebblestore: block %d is missing", next)
		}
		next++
		return each(block)
	})
	if err == nil && next != last+1 {
		return fmt.Errorf("pebblestore: block %d is missing", next)
	}
	return err
}

// Status says which blocks are there.
func (s *Store) Status() (hs2sync.PeerStatus, error) {
	s.mutex.RLock()
	defer s.mutex.RUnlock()
	if s.position.Stored == nil {
		// Nothing is there: the lowest height is above the tip.
		return hs2sync.PeerStatus{Earliest: 1}, nil
	}
	return hs2sync.PeerStatus{Earliest: s.first, Tip: s.position.Stored.Height, Epoch: s.epoch}, nil
}

// Handover is the handover that ends an epoch.
func (s *Store) Handover(epoch uint64) (handover []byte, err error) {
	return read(s, func(rows rows) ([]byte, error) { return rows.Handover(epoch) })
}

// Tip is the newest proof of finality.
func (s *Store) Tip() ([]byte, error) { return read(s, rows.Tip) }

// Segment is the stored segment that holds the header at a height.
func (s *Store) Segment(height uint64) (*hs2sync.StoredSegment, error) {
	return read(s, func(rows rows) (*hs2sync.StoredSegment, error) { return rows.Segment(height) })
}

// Payload is the payload of the block at a height.
func (s *Store) Payload(height uint64) ([]byte, error) {
	return read(s, func(rows rows) ([]byte, error) { return rows.Payload(height) })
}

// read reads while the database is open.
func read[T any](s *Store, do func(rows) (T, error)) (found T, err error) {
	if err := s.use(); err != nil {
		return found, err
	}
	defer s.life.RUnlock()
	return do(rows{s.db})
}

// Close closes the database. Later calls that need it return [hs2sync.ErrClosed].
func (s *Store) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	return s.db.Close()
}

var _ hs2sync.StateKeeper = (*Store)(nil)
