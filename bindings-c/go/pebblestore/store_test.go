package pebblestore

import (
	"errors"
	"testing"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// own is a chain whose segments prove no tip.
type own struct{ hs2sync.Chain }

func (own) TipOf([]byte) ([]byte, error) { return nil, nil }

func rules(chain byte) hs2sync.Rules { return hs2sync.Rules{Own: own{}, ChainID: hs2sync.ID{chain}} }

func open(t *testing.T, folder string) *Store {
	t.Helper()
	store, err := Open(folder, rules(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

func call(first, last uint64) *hs2sync.Call {
	made := &hs2sync.Call{Work: hs2sync.WorkApply, First: first, Last: last, Tip: []byte("tip")}
	for height := first; height <= last; height++ {
		made.Blocks = append(made.Blocks, hs2sync.Block{Height: height, ID: hs2sync.ID{byte(height)}, TimestampMs: height,
			StateRoot: hs2sync.ID{7}, Payload: make([]byte, height%3)})
	}
	made.Segments = []hs2sync.StoredSegment{{First: first, Last: last, Epoch: 4, Segment: []byte{byte(first)}, Audit: []byte{}}}
	return made
}

func TestWhatWasAcknowledgedIsThereAgain(t *testing.T) {
	folder := t.TempDir()
	store := open(t, folder)
	if status, err := store.Status(); err != nil || status.Tip != 0 || status.Earliest != 1 {
		t.Errorf("%+v %v", status, err)
	}
	link := hs2sync.Link{Ended: 3, Boundary: 9, Epoch: 4, First: 10, Last: 99, EncodedEpoch: []byte("epoch"), Handover: []byte("h")}
	err := errors.Join(store.StoreHandovers([]hs2sync.Link{link}), store.StoreBlocks(call(10, 20)),
		store.StoreBlocks(call(21, 30)), store.SetApplied(25), store.Close())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Tip(); !errors.Is(err, hs2sync.ErrClosed) {
		t.Errorf("%v", err)
	}
	store = open(t, folder)
	position, err := store.Position()
	if err != nil || position.Applied != 25 || len(position.Links) != 1 || string(position.Links[0].EncodedEpoch) != "epoch" {
		t.Errorf("%+v %v", position, err)
	}
	if at := position.Stored; at == nil || at.Height != 30 || at.ID != (hs2sync.ID{30}) || at.TimestampMs != 30 || string(at.Tip) != "tip" {
		t.Errorf("%+v", at)
	}
	if status, err := store.Status(); err != nil || status != (hs2sync.PeerStatus{Earliest: 10, Tip: 30, Epoch: 4}) {
		t.Errorf("%+v %v", status, err)
	}
	for height, first := range map[uint64]byte{10: 10, 20: 10, 21: 21, 30: 21} {
		segment, err := store.Segment(height)
		if err != nil || segment == nil || segment.Segment[0] != first {
			t.Errorf("%d: %+v %v", height, segment, err)
		}
		payload, err := store.Payload(height)
		if err != nil || payload == nil || uint64(len(payload)) != height%3 {
			t.Errorf("%d: %v %v", height, payload, err)
		}
	}
	for _, height := range []uint64{0, 9, 31, ^uint64(0)} {
		segment, err := store.Segment(height)
		payload, wrong := store.Payload(height)
		if segment != nil || payload != nil || err != nil || wrong != nil {
			t.Errorf("%d: %+v %v %v %v", height, segment, payload, err, wrong)
		}
	}
	if handover, err := store.Handover(3); err != nil || string(handover) != "h" {
		t.Errorf("%q %v", handover, err)
	}
	if handover, err := store.Handover(4); err != nil || handover != nil {
		t.Errorf("%q %v", handover, err)
	}
	next := uint64(26)
	err = store.Blocks(26, 30, func(block hs2sync.Block) error {
		if block.Height != next {
			t.Errorf("%d after %d", block.Height, next)
		}
		next++
		return nil
	})
	if err != nil || next != 31 {
		t.Errorf("%d %v", next, err)
	}
	if err := store.Blocks(29, 31, func(hs2sync.Block) error { return nil }); err == nil {
		t.Error("block 31 is not there")
	}
}

func TestWhatDoesNotBelongIsRefused(t *testing.T) {
	folder := t.TempDir()
	store := open(t, folder)
	if err := store.StoreBlocks(call(10, 20)); err != nil {
		t.Fatal(err)
	}
	if err := store.StoreBlocks(call(22, 30)); err == nil {
		t.Error("a gap is stored")
	}
	if err := store.StoreBlocks(&hs2sync.Call{}); err == nil {
		t.Error("nothing is stored")
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(folder, rules(2)); err == nil {
		t.Error("the folder of another chain is taken")
	}
}

func TestADamagedRecordIsAnErrorThatNamesIt(t *testing.T) {
	for _, whole := range [][]byte{encodeBlock(hs2sync.Block{Payload: []byte("abc")}), encodeSegment(hs2sync.StoredSegment{}),
		encodeLink(hs2sync.Link{Handover: []byte("h")})} {
		for length := range len(whole) {
			cut := whole[:length:length]
			_, block := decodeBlock(1, cut)
			_, segment := decodeSegment(cut)
			_, link := decodeLink(cut)
			if block == nil && segment == nil && link == nil {
				t.Fatalf("a record cut at %d is read", length)
			}
		}
	}
	if _, err := decodeBlock(1, append(encodeBlock(hs2sync.Block{}), 0)); err == nil {
		t.Error("a byte too many")
	}
}

func TestStatesAreOrderedAndAViewStaysAsItIs(t *testing.T) {
	folder := t.TempDir()
	store := open(t, folder)
	set := func(key, value string) hs2sync.Change { return hs2sync.Change{Key: []byte(key), Value: []byte(value)} }
	if err := store.Write([]hs2sync.Change{set("b", "1"), set("a", ""), set("bb", "2")}); err != nil {
		t.Fatal(err)
	}
	view, err := store.View()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(store.Write([]hs2sync.Change{{Key: []byte("b"), Deleted: true}, set("c", "3")}), store.Sync()); err != nil {
		t.Fatal(err)
	}
	for _, look := range []struct {
		in       hs2sync.StateStore
		from, to string
		key      string
	}{{store, "a", "c", "a"}, {store, "aa", "c", "bb"}, {store, "b", "ba", ""}, {store, "c", "c", "c"}, {view, "aa", "c", "b"}, {view, "c", "z", ""}} {
		key, value, err := look.in.Next([]byte(look.from), []byte(look.to))
		if err != nil || string(key) != look.key || (look.key == "") != (key == nil) || value == nil && key != nil {
			t.Errorf("%+v: %q %q %v", look, key, value, err)
		}
	}
	if value, err := view.Get([]byte("b")); string(value) != "1" || err != nil {
		t.Errorf("%q %v", value, err)
	}
	if value, err := store.Get([]byte("a")); value == nil || len(value) != 0 || err != nil {
		t.Errorf("%q %v", value, err)
	}
	if view.Write(nil) == nil {
		t.Error("a view is written to")
	}
	if err := view.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestBlocksBeginAboveABase(t *testing.T) {
	folder := t.TempDir()
	store := open(t, folder)
	segment := hs2sync.StoredSegment{First: 40, Last: 50, Epoch: 5, Segment: []byte("base"), Audit: []byte{}}
	base := hs2sync.Base{Height: 40, ID: hs2sync.ID{40}, StateRoot: hs2sync.ID{7}, Segment: segment, Tip: []byte("tip of 50")}
	err := errors.Join(store.StoreBlocks(call(10, 20)), store.SetApplied(20), store.Prepare(base), store.Close())
	if err != nil {
		t.Fatal(err)
	}
	store = open(t, folder)
	prepared, err := store.Prepared()
	if err != nil || prepared == nil || prepared.ID != base.ID || string(prepared.Segment.Segment) != "base" {
		t.Fatalf("%+v %v", prepared, err)
	}
	if err := errors.Join(store.Rebase(*prepared), store.StoreBlocks(call(41, 45)), store.Close()); err != nil {
		t.Fatal(err)
	}
	store = open(t, folder)
	position, err := store.Position()
	if err != nil || position.Applied != 40 || position.Stored.Height != 45 {
		t.Errorf("%+v %v", position, err)
	}
	if prepared, err := store.Prepared(); prepared != nil || err != nil {
		t.Errorf("%+v %v", prepared, err)
	}
	view, err := store.View()
	if err != nil {
		t.Fatal(err)
	}
	defer view.Close()
	for _, reader := range []hs2sync.Reader{store, view} {
		if status, err := reader.Status(); err != nil || status != (hs2sync.PeerStatus{Earliest: 41, Tip: 45, Epoch: 4}) {
			t.Errorf("%+v %v", status, err)
		}
		for height, first := range map[uint64]byte{40: 'b', 41: 41, 45: 41} {
			segment, err := reader.Segment(height)
			if err != nil || segment == nil || segment.Segment[0] != first {
				t.Errorf("%d: %+v %v", height, segment, err)
			}
		}
		for _, height := range []uint64{15, 39, 46} {
			if segment, err := reader.Segment(height); segment != nil && height != 39 || err != nil {
				t.Errorf("%d: %+v %v", height, segment, err)
			}
		}
		if payload, err := reader.Payload(15); payload != nil || err != nil {
			t.Errorf("%q %v", payload, err)
		}
	}
}
