package pebblestore

import (
	"encoding/binary"
	"fmt"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// reader reads a record; once it has ended too early, everything is zero.
type reader struct {
	bytes []byte
	short bool
}

func (r *reader) take(length uint64) []byte {
	if length > uint64(len(r.bytes)) {
		r.short = true
		return nil
	}
	taken := r.bytes[:length:length]
	r.bytes = r.bytes[length:]
	return taken
}

func (r *reader) u64() uint64 {
	bytes := r.take(8)
	if bytes == nil {
		return 0
	}
	return binary.BigEndian.Uint64(bytes)
}

func (r *reader) id() (id hs2sync.ID) {
	copy(id[:], r.take(32))
	return id
}

// part is a copy of bytes with their length in front.
func (r *reader) part() []byte { return append([]byte{}, r.take(r.u64())...) }

func (r *reader) end(what string) error {
	if r.short || len(r.bytes) != 0 {
		return fmt.Errorf("pebblestore: the record of %s is damaged", what)
	}
	return nil
}

type writer []byte

func (w *writer) u64(numbers ...uint64) {
	for _, number := range numbers {
		*w = binary.BigEndian.AppendUint64(*w, number)
	}
}

func (w *writer) part(bytes []byte) {
	w.u64(uint64(len(bytes)))
	*w = append(*w, bytes...)
}

func encodeBlock(block hs2sync.Block) []byte {
	w := make(writer, 0, 80+len(block.Payload))
	w.u64(block.TimestampMs)
	w = append(append(w, block.ID[:]...), block.StateRoot[:]...)
	w.part(block.Payload)
	return w
}

func decodeBlock(height uint64, value []byte) (hs2sync.Block, error) {
	r := reader{bytes: value}
	block := hs2sync.Block{Height: height, TimestampMs: r.u64(), ID: r.id(), StateRoot: r.id(), Payload: r.part()}
	return block, r.end(fmt.Sprintf("block %d", height))
}

func encodeSegment(segment hs2sync.StoredSegment) []byte {
	var w writer
	certified := uint64(0)
	if segment.Certified {
		certified = 1
	}
	w.u64(segment.First, segment.Last, segment.Epoch, certified)
	w.part(segment.Segment)
	w.part(segment.Audit)
	return w
}

func decodeSegment(value []byte) (hs2sync.StoredSegment, error) {
	r := reader{bytes: value}
	segment := hs2sync.StoredSegment{First: r.u64(), Last: r.u64(), Epoch: r.u64(), Certified: r.u64() == 1}
	segment.Segment, segment.Audit = r.part(), r.part()
	return segment, r.end(fmt.Sprintf("the headers up to %d", segment.Last))
}

func encodeLink(link hs2sync.Link) []byte {
	var w writer
	w.u64(link.Ended, link.Boundary)
	w = append(w, link.BoundaryID[:]...)
	w.u64(link.Epoch, link.First, link.Last, link.BoundaryTimeMs)
	w.part(link.EncodedEpoch)
	w.part(link.Handover)
	return w
}

func decodeLink(value []byte) (hs2sync.Link, error) {
	r := reader{bytes: value}
	link := hs2sync.Link{Ended: r.u64(), Boundary: r.u64(), BoundaryID: r.id(), Epoch: r.u64(), First: r.u64(),
		Last: r.u64(), BoundaryTimeMs: r.u64(), EncodedEpoch: r.part(), Handover: r.part()}
	return link, r.end(fmt.Sprintf("the handover at the end of epoch %d", link.Ended))
}

func encodeStored(stored hs2sync.Stored, epoch uint64) []byte {
	var w writer
	w.u64(stored.Height)
	w = append(w, stored.ID[:]...)
	w.u64(stored.TimestampMs, epoch)
	return w
}

func decodeStored(value []byte) (stored hs2sync.Stored, epoch uint64, err error) {
	r := reader{bytes: value}
	stored = hs2sync.Stored{Height: r.u64(), ID: r.id(), TimestampMs: r.u64()}
	epoch = r.u64()
	return stored, epoch, r.end("the position")
}

func encodeBase(base hs2sync.Base) []byte {
	var w writer
	w.u64(base.Height)
	w = append(append(w, base.ID[:]...), base.StateRoot[:]...)
	w.part(encodeSegment(base.Segment))
	w.part(base.Tip)
	return w
}

func decodeBase(value []byte) (hs2sync.Base, error) {
	r := reader{bytes: value}
	base := hs2sync.Base{Height: r.u64(), ID: r.id(), StateRoot: r.id()}
	segment, tip := r.part(), r.part()
	if err := r.end("the base"); err != nil {
		return base, err
	}
	if len(tip) > 0 {
		base.Tip = tip
	}
	var err error
	base.Segment, err = decodeSegment(segment)
	return base, err
}
