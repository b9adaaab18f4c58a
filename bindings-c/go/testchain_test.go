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
	epoch    *Epoch
	keys     []ed25519.PrivateKey
	headers  [][]byte
	ids      []ID
	payloads [][]byte
	segments []StoredSegment
	tip      []byte
	blocks   uint64

	payloadBytes int
	// executed is the state root after the block at a height; nil where the chain has no state.
	executed func(height uint64) (ID, error)
	roots    map[uint64]ID
}

func newTestChain(t testing.TB, blocks uint64) *testChain {
	t.Helper()
	return newTestChainOf(t, blocks, 4, 200)
}

func newTestChainOf(t testing.TB, blocks uint64, validators, payloadBytes int) *testChain {
	t.Helper()
	return newTestChainWith(t, blocks, validators, payloadBytes, nil)
}

func newTestChainWith(t testing.TB, blocks uint64, validators, payloadBytes int, executed func(uint64) (ID, error)) *testChain {
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
	epoch, err := genesis.FirstEpoch()
	if err != nil {
		t.Fatal(err)
	}
	chain := &testChain{genesis: genesis, epoch: epoch, keys: keys, blocks: blocks, payloadBytes: payloadBytes,
		executed: executed, roots: map[uint64]ID{}}
	if err := chain.make(); err != nil {
		t.Fatal(err)
	}
	return chain
}

func (c *testChain) make() error {
	first, err := c.genesis.Header()
	if err != nil {
		return err
	}
	c.headers, c.payloads, c.ids = [][]byte{first}, [][]byte{nil}, []ID{c.genesis.BlockID}
	for height := uint64(1); height <= c.blocks+1; height++ {
		payload := bytes.Repeat([]byte{byte(height), byte(height >> 8)}, c.payloadBytes/2)
		root := ID{}
		if c.executed != nil {
			var err error
			if root, err = c.executed(height); err != nil {
				return err
			}
			c.roots[height] = root
		}
		header, err := c.epoch.NewHeader(c.headers[height-1], Proposal{
			View: height, TimestampMs: 1_700_000_000_000 + height, Payload: payload, Proposer: uint16(height % 4), StateRoot: root,
		})
		if err != nil {
			return err
		}
		info, err := ReadHeader(header)
		if err != nil {
			return err
		}
		c.headers, c.payloads, c.ids = append(c.headers, header), append(c.payloads, payload), append(c.ids, info.ID)
	}
	for first := uint64(1); first <= c.blocks; first = first/cell*cell + cell {
		last := min(first/cell*cell+cell-1, c.blocks)
		segment, err := c.segment(first, last)
		if err != nil {
			return err
		}
		c.segments = append(c.segments, StoredSegment{First: first, Last: last, Certified: true, Segment: segment})
	}
	proof, err := c.proof(c.blocks)
	if err != nil {
		return err
	}
	c.tip, err = NewTip(c.headers[c.blocks], proof)
	return err
}

// proof is why a block is final: a child in the very next view that a quorum voted for.
func (c *testChain) proof(height uint64) (Proof, error) {
	child := c.headers[height+1]
	message, err := VoteBytes(child, PhaseOne)
	if err != nil {
		return Proof{}, err
	}
	var votes []Vote
	for _, key := range c.keys[:len(c.keys)*2/3+1] {
		vote := Vote{Key: ID(key.Public().(ed25519.PublicKey))}
		copy(vote.Signature[:], ed25519.Sign(key, message))
		votes = append(votes, vote)
	}
	certificate, err := c.epoch.NewCertificate(child, PhaseOne, votes)
	return Proof{Descendants: [][]byte{child}, Certificate: certificate}, err
}

// segment proves the blocks from first to last.
func (c *testChain) segment(first, last uint64) ([]byte, error) {
	proof, err := c.proof(last)
	if err != nil {
		return nil, err
	}
	return NewSegment(c.headers[first-1], c.headers[first:last+1], proof)
}

// decided are the blocks from first to last as an engine hands them in.
func (c *testChain) decided(t testing.TB, first, last uint64) DecidedBlocks {
	t.Helper()
	segment, err := c.segment(first, last)
	if err != nil {
		t.Fatal(err)
	}
	return DecidedBlocks{First: first, Segment: segment, Payloads: c.payloads[first : last+1]}
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
