package hs2sync

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"
)

// cell is how many heights one certified segment covers.
const cell = 1024

// testChain is a chain in memory that four validators signed, and a store that answers requests from it.
type testChain struct {
	genesis  *Genesis
	ids      []ID
	payloads [][]byte
	segments []StoredSegment
	tip      []byte
	blocks   uint64

	payloadBytes int
}

func newTestChain(t testing.TB, blocks uint64) *testChain {
	t.Helper()
	return newTestChainOf(t, blocks, 4, 200)
}

func newTestChainOf(t testing.TB, blocks uint64, validators, payloadBytes int) *testChain {
	t.Helper()
	keys := make([]ed25519.PrivateKey, validators)
	document := Document{Version: 1, Name: "test", TimestampMs: 1_700_000_000_000, LastHeight: 1 << 40, SnapshotInterval: 1000}
	for i := range keys {
		keys[i] = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i + 1)}, 32))
		document.Validators = append(document.Validators, Validator{Key: ID(keys[i].Public().(ed25519.PublicKey)), Power: 1})
	}
	genesis, err := NewGenesis(document)
	if err != nil {
		t.Fatal(err)
	}
	chain := &testChain{genesis: genesis, blocks: blocks, payloadBytes: payloadBytes}
	if err := with(func(f *frame) error { return chain.make(f, keys) }); err != nil {
		t.Fatal(err)
	}
	return chain
}

func (c *testChain) make(f *frame, keys []ed25519.PrivateKey) error {
	handles, err := f.native(c.genesis)
	if err != nil {
		return err
	}
	epoch, err := f.handle(fnEpochFirst, handles.genesis)
	if err != nil {
		return err
	}
	defer f.release(epoch)
	first, err := f.bytes(fnGenesisHeader, handles.genesis)
	if err != nil {
		return err
	}
	headers := [][]byte{first}
	c.payloads, c.ids = [][]byte{nil}, []ID{c.genesis.BlockID}
	for height := uint64(1); height <= c.blocks+1; height++ {
		payload := bytes.Repeat([]byte{byte(height), byte(height >> 8)}, c.payloadBytes/2)
		header, err := c.header(f, epoch, headers[height-1], height, payload)
		if err != nil {
			return err
		}
		f.begin()
		slice, err := f.slice(header)
		if err != nil {
			return err
		}
		info := f.room(256)
		if err := f.do(fnHeaderRead, slice, info); err != nil {
			return err
		}
		r := f.read(info, 32)
		headers, c.payloads, c.ids = append(headers, header), append(c.payloads, payload), append(c.ids, r.id())
	}
	for first := uint64(1); first <= c.blocks; first = first/cell*cell + cell {
		last := min(first/cell*cell+cell-1, c.blocks)
		if err := c.prove(f, epoch, keys, headers, first, last); err != nil {
			return err
		}
	}
	return nil
}

func (c *testChain) header(f *frame, epoch uint64, parent []byte, height uint64, payload []byte) ([]byte, error) {
	f.begin()
	above, err := f.slice(parent)
	if err != nil {
		return nil, err
	}
	at, err := f.put(payload)
	if err != nil {
		return nil, err
	}
	proposal := f.room(96)
	w := f.write(proposal, 96)
	w.setU64(height)
	w.setU64(1_700_000_000_000 + height)
	w.setAddress(at)
	w.setAddress(uint64(len(payload)))
	w.setID(ID{})
	w.setU64(0)
	w.setU16(uint16(height % 4))
	return f.bytes(fnHeaderNew, above, epoch, proposal)
}

// list is the address of slices in a row.
func (f *frame) list(parts [][]byte) (uint64, error) {
	out := f.room(uint64(len(parts)) * 2 * f.word())
	for i, part := range parts {
		at, err := f.put(part)
		if err != nil {
			return 0, err
		}
		f.setSlice(out+uint64(i)*2*f.word(), at, uint64(len(part)))
	}
	return out, nil
}

// prove makes the segment from first to last, final with a child in the very next view that a quorum voted for.
func (c *testChain) prove(f *frame, epoch uint64, keys []ed25519.PrivateKey, headers [][]byte, first, last uint64) error {
	f.begin()
	child, err := f.slice(headers[last+1])
	if err != nil {
		return err
	}
	vote := f.room(105)
	if err := f.do(fnVoteBytes, child, 1, vote); err != nil {
		return err
	}
	message := append([]byte(nil), f.view(vote, 105)...)
	quorum := len(keys)*2/3 + 1
	votes := make([]byte, 0, 96*quorum)
	for _, key := range keys[:quorum] {
		votes = append(append(votes, key.Public().(ed25519.PublicKey)...), ed25519.Sign(key, message)...)
	}
	at, err := f.put(votes)
	if err != nil {
		return err
	}
	certificate, err := f.bytes(fnCertificateNew, child, 1, epoch, at, uint64(quorum))
	if err != nil {
		return err
	}
	parent, err := f.slice(headers[first-1])
	if err != nil {
		return err
	}
	list, err := f.list(headers[first : last+1])
	if err != nil {
		return err
	}
	above, err := f.list(headers[last+1 : last+2])
	if err != nil {
		return err
	}
	proof, err := f.slice(certificate)
	if err != nil {
		return err
	}
	segment, err := f.bytes(fnSegmentNew, parent, list, last-first+1, above, 1, proof)
	if err != nil {
		return err
	}
	c.segments = append(c.segments, StoredSegment{First: first, Last: last, Certified: true, Segment: segment})
	header, err := f.slice(headers[last])
	if err != nil {
		return err
	}
	c.tip, err = f.bytes(fnTipNew, header, above, 1, proof)
	return err
}

func (c *testChain) Status() (PeerStatus, error) { return PeerStatus{Earliest: 1, Tip: c.blocks}, nil }

func (c *testChain) Handover(uint64) ([]byte, error) { return nil, nil }

func (c *testChain) Tip() ([]byte, error) { return c.tip, nil }

func (c *testChain) Segment(height uint64) (*StoredSegment, error) {
	for i := range c.segments {
		if c.segments[i].First <= height && height <= c.segments[i].Last {
			return &c.segments[i], nil
		}
	}
	return nil, nil
}

func (c *testChain) Payload(height uint64) ([]byte, error) {
	if height == 0 || height > c.blocks {
		return nil, nil
	}
	return c.payloads[height], nil
}

// memoryStore keeps blocks in memory, as a store keeps them on a disk.
type memoryStore struct {
	mutex    sync.Mutex
	position Position
	blocks   map[uint64]Block
	digest   [32]byte
}

func newMemoryStore() *memoryStore { return &memoryStore{blocks: map[uint64]Block{}} }

func (s *memoryStore) Status() (PeerStatus, error)            { return PeerStatus{Earliest: 1}, nil }
func (s *memoryStore) Handover(uint64) ([]byte, error)        { return nil, nil }
func (s *memoryStore) Tip() ([]byte, error)                   { return nil, nil }
func (s *memoryStore) Segment(uint64) (*StoredSegment, error) { return nil, nil }
func (s *memoryStore) Payload(height uint64) ([]byte, error)  { return s.blocks[height].Payload, nil }
func (s *memoryStore) StoreHandovers([]Link) error            { return nil }
func (s *memoryStore) Position() (Position, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.position, nil
}

func (s *memoryStore) StoreBlocks(call *Call) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for _, block := range call.Blocks {
		s.blocks[block.Height] = block
		s.position.Stored = &Stored{Height: block.Height, ID: block.ID, TimestampMs: block.TimestampMs}
	}
	return nil
}

func (s *memoryStore) SetApplied(height uint64) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.position.Applied = height
	return nil
}

func (s *memoryStore) Blocks(first, last uint64, each func(Block) error) error {
	for height := first; height <= last; height++ {
		block, ok := s.blocks[height]
		if !ok {
			return fmt.Errorf("block %d is missing", height)
		}
		if err := each(block); err != nil {
			return err
		}
	}
	return nil
}

// execute looks at each block once and in order.
func (s *memoryStore) execute(_ context.Context, blocks []Block) error {
	for _, block := range blocks {
		s.digest = sha256.Sum256(append(s.digest[:], block.Payload...))
	}
	return nil
}

// memoryNetwork has peers in memory, each an answer to a request.
type memoryNetwork struct {
	peers map[ID]func(request []byte) ([]byte, error)
	mutex sync.Mutex
	bans  map[ID]string
	// liar comes first, and the others once it is banned; nil where all come at once.
	liar  *ID
	found chan struct{}
}

func (n *memoryNetwork) Serve(ctx context.Context, _ Handler, changes chan<- PeerChange) error {
	n.mutex.Lock()
	liar := n.liar
	n.mutex.Unlock()
	if liar != nil {
		changes <- PeerChange{Peer: *liar, Group: 99, Connected: true}
		select {
		case <-n.found:
		case <-ctx.Done():
		}
	}
	for peer := range n.peers {
		if liar != nil && peer == *liar {
			continue
		}
		changes <- PeerChange{Peer: peer, Group: uint64(peer[0]), Connected: true}
	}
	<-ctx.Done()
	return ctx.Err()
}

func (n *memoryNetwork) Ask(_ context.Context, peer ID, request []byte, most uint64) ([]byte, error) {
	answer, err := n.peers[peer](request)
	if err == nil && uint64(len(answer)) > most {
		return nil, ErrOversize
	}
	return answer, err
}

func (n *memoryNetwork) Ban(peer ID, _ time.Duration, reason string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.bans[peer] = reason
	if n.liar != nil && peer == *n.liar {
		close(n.found)
		n.liar = nil
	}
}

func (n *memoryNetwork) Lift(peer ID) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	delete(n.bans, peer)
}

var errAway = errors.New("away")
