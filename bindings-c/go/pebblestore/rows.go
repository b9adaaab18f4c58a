package pebblestore

import (
	"encoding/binary"
	"errors"
	"io"

	"github.com/cockroachdb/pebble/v2"
	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// rows are the records of a database, or of a snapshot of it. They are an [hs2sync.Reader].
type rows struct{ from pebble.Reader }

// get is a copy of a record; nil where there is none.
func (r rows) get(key []byte) ([]byte, error) {
	value, closer, err := r.from.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	copied := append([]byte{}, value...)
	return copied, closer.Close()
}

// each gives the records of a kind from first to last, in order.
func (r rows) each(kind byte, first, last uint64, do func(number uint64, value []byte) error) (err error) {
	upper := []byte{kind + 1}
	if last != ^uint64(0) {
		upper = key(kind, last+1)
	}
	iterator, err := r.from.NewIter(&pebble.IterOptions{LowerBound: key(kind, first), UpperBound: upper})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, iterator.Close()) }()
	for ok := iterator.First(); ok; ok = iterator.Next() {
		value, err := iterator.ValueAndErr()
		if err != nil {
			return err
		}
		if err := do(binary.BigEndian.Uint64(iterator.Key()[1:]), value); err != nil {
			return err
		}
	}
	return iterator.Error()
}

// Status says which blocks are there.
func (r rows) Status() (hs2sync.PeerStatus, error) {
	stored, err := r.get(keyStored)
	if err != nil {
		return hs2sync.PeerStatus{}, err
	}
	if stored == nil {
		// Nothing is there: the lowest height is above the tip.
		return hs2sync.PeerStatus{Earliest: 1}, nil
	}
	at, epoch, err := decodeStored(stored)
	if err != nil {
		return hs2sync.PeerStatus{}, err
	}
	first, err := r.get(keyFirst)
	if err == nil && len(first) != 8 {
		err = errors.New("pebblestore: the record of the lowest height is damaged")
	}
	if err != nil {
		return hs2sync.PeerStatus{}, err
	}
	return hs2sync.PeerStatus{Earliest: binary.BigEndian.Uint64(first), Tip: at.Height, Epoch: epoch}, nil
}

// Handover is the handover that ends an epoch.
func (r rows) Handover(epoch uint64) ([]byte, error) {
	value, err := r.get(key(kindLink, epoch))
	if value == nil || err != nil {
		return nil, err
	}
	link, err := decodeLink(value)
	return link.Handover, err
}

// Tip is the newest proof of finality.
func (r rows) Tip() ([]byte, error) {
	_, tip, err := r.tip()
	return tip, err
}

func (r rows) tip() (height uint64, tip []byte, err error) {
	value, err := r.get(keyTip)
	if len(value) < 8 || err != nil {
		return 0, nil, err
	}
	return binary.BigEndian.Uint64(value), value[8:], nil
}

// Segment is the stored segment that holds the header at a height.
func (r rows) Segment(height uint64) (found *hs2sync.StoredSegment, err error) {
	// The base's own header is in no other segment.
	base, err := r.base(keyBase)
	if err != nil {
		return nil, err
	}
	if base != nil && base.Height == height {
		return &base.Segment, nil
	}
	err = r.each(kindSegment, height, ^uint64(0), func(last uint64, value []byte) error {
		segment, err := decodeSegment(value)
		if err == nil && segment.First <= height {
			found = &segment
		}
		if err == nil {
			err = io.EOF
		}
		return err
	})
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return found, err
}

// Payload is the payload of the block at a height.
func (r rows) Payload(height uint64) ([]byte, error) {
	value, err := r.get(key(kindBlock, height))
	if value == nil || err != nil {
		return nil, err
	}
	block, err := decodeBlock(height, value)
	return block.Payload, err
}

// base is the record of a base; nil where there is none.
func (r rows) base(key []byte) (*hs2sync.Base, error) {
	value, err := r.get(key)
	if value == nil || err != nil {
		return nil, err
	}
	base, err := decodeBase(value)
	return &base, err
}

// stateKey is where a key of the library lies.
func stateKey(key []byte) []byte { return append([]byte{kindState}, key...) }

// Get is the value of a key of a state.
func (r rows) Get(key []byte) ([]byte, error) { return r.get(stateKey(key)) }

// Next is the entry of a state with the lowest key that is not below from and not above to.
func (r rows) Next(from, to []byte) (key, value []byte, err error) {
	upper := append(stateKey(to), 0)
	iterator, err := r.from.NewIter(&pebble.IterOptions{LowerBound: stateKey(from), UpperBound: upper})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, iterator.Close()) }()
	if !iterator.First() {
		return nil, nil, iterator.Error()
	}
	found, err := iterator.ValueAndErr()
	return append([]byte{}, iterator.Key()[1:]...), append([]byte{}, found...), err
}
