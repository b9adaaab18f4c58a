package hs2sync

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"testing"
)

// idle is a node that does not run yet, with a store in memory.
func idle(chain *testChain, peers map[ID]func([]byte) ([]byte, error)) (*Node, *memoryStore) {
	store := newMemoryStore()
	return &Node{
		Rules: Rules{Genesis: chain.genesis}, Store: store, Execute: store.execute, Log: slog.New(slog.DiscardHandler),
		Network: &memoryNetwork{bans: map[ID]string{}, peers: peers},
	}, store
}

// start runs a node until the test ends.
func start(t *testing.T, node *Node) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the node ended with %v", err)
		}
	})
}

// running is a node that knows nobody but these peers, and runs until the test ends.
func running(t *testing.T, chain *testChain, peers map[ID]func([]byte) ([]byte, error)) (*Node, *memoryStore) {
	t.Helper()
	node, store := idle(chain, peers)
	start(t, node)
	return node, store
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func TestDecidedBlocksAreStoredAndExecutedWhenSubmitReturns(t *testing.T) {
	chain := newTestChain(t, 1500)
	node, store := running(t, chain, nil)
	ctx := patient(t)
	for _, part := range [][2]uint64{{1, 1}, {2, 2}, {3, 500}, {501, 1023}, {1024, 1500}} {
		height, err := node.Submit(ctx, chain.decided(t, part[0], part[1]))
		if err != nil || height != part[1] {
			t.Fatalf("%v: %d, %v", part, height, err)
		}
		position, _ := store.Position()
		if position.Applied != part[1] || position.Stored.ID != chain.ids[part[1]] {
			t.Fatalf("%v: %+v", part, position)
		}
	}
	if store.digest != chain.digest() {
		t.Error("other blocks were executed, or in another order")
	}
	// Answers that are here already are given at once.
	if height, err := node.Submit(ctx, chain.decided(t, 700, 800)); err != nil || height != 1500 {
		t.Errorf("%d, %v", height, err)
	}
	if store.digest != chain.digest() {
		t.Error("a block was executed twice")
	}
}

func TestDecidedBlocksAreTakenInAnyOrderAndPeersFillTheGap(t *testing.T) {
	chain := newTestChain(t, 1200)
	node, store := running(t, chain, map[ID]func([]byte) ([]byte, error){{1}: chain.honest()})
	ctx := patient(t)
	answers := make(chan error, 2)
	for _, part := range [][2]uint64{{1101, 1200}, {1024, 1100}} {
		blocks := chain.decided(t, part[0], part[1])
		go func() {
			height, err := node.Submit(ctx, blocks)
			if err == nil && height < blocks.First {
				err = errors.New("answered before it was stored")
			}
			answers <- err
		}()
	}
	if err := errors.Join(<-answers, <-answers); err != nil {
		t.Fatal(err)
	}
	if position, _ := store.Position(); position.Applied != 1200 || store.digest != chain.digest() {
		t.Errorf("applied %d", position.Applied)
	}
}

func TestFalseDecidedBlocksAreRefusedAndBlameNobody(t *testing.T) {
	chain := newTestChain(t, 40)
	node, store := running(t, chain, nil)
	ctx := patient(t)
	if _, err := node.Submit(ctx, chain.decided(t, 1, 10)); err != nil {
		t.Fatal(err)
	}
	var refused *DecidedError
	other := chain.decided(t, 11, 20)
	other.Payloads = append([][]byte(nil), other.Payloads...)
	other.Payloads[3] = bytes.Repeat([]byte{9}, len(other.Payloads[3]))
	_, err := node.Submit(ctx, other)
	if !errors.Is(err, RefusedFalse) || !errors.Is(err, FaultBadPayload) || !errors.As(err, &refused) || refused.Text == "" {
		t.Errorf("%v", err)
	}
	forged := chain.decided(t, 11, 20)
	signatures := chain.keys
	chain.keys = []ed25519.PrivateKey{signatures[0], signatures[1], ed25519.NewKeyFromSeed(make([]byte, 32)), signatures[3]}
	forged.Segment = chain.decided(t, 11, 20).Segment
	chain.keys = signatures
	if _, err = node.Submit(ctx, forged); !errors.Is(err, RefusedFalse) || !errors.Is(err, FaultBadCertificate) {
		t.Errorf("%v", err)
	}
	if _, err = node.Submit(ctx, chain.decided(t, 5, 15)); !errors.Is(err, RefusedOverlap) || !errors.As(err, &refused) || refused.Height != 11 {
		t.Errorf("%v", err)
	}
	for _, wrong := range []DecidedBlocks{{First: 11}, {First: 11, Payloads: make([][]byte, 1025)}} {
		if _, err = node.Submit(ctx, wrong); err == nil || errors.As(err, &refused) {
			t.Errorf("%v", err)
		}
	}
	if height, err := node.Submit(ctx, chain.decided(t, 11, 40)); err != nil || height != 40 || store.digest != chain.digest() {
		t.Errorf("%d, %v", height, err)
	}
}

func TestAnEpochEndsWithItsHandover(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	own := Validator{Key: ID(key.Public().(ed25519.PublicKey)), Power: 1}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	genesis, err := NewGenesis(Document{
		Version: 1, Name: "alone", TimestampMs: 1, LastHeight: 3, SnapshotInterval: 1000, Validators: []Validator{own},
	})
	must(err)
	epoch, err := genesis.FirstEpoch()
	must(err)
	parent, err := genesis.Header()
	must(err)
	node, store := running(t, &testChain{genesis: genesis}, nil)
	for height := uint64(1); height <= 7; height++ {
		var next *Epoch
		if height == epoch.Last {
			next, err = genesis.NewEpoch(epoch.Number+1, height+1, height+3, []Validator{own})
			must(err)
		}
		payload := []byte{byte(height)}
		header, err := epoch.NewHeader(parent, Proposal{View: height, TimestampMs: height, Payload: payload, NextEpoch: next})
		must(err)
		must(epoch.CheckHeader(parent, header))
		message, err := VoteBytes(header, PhaseTwo)
		must(err)
		certificate, err := epoch.NewCertificate(header, PhaseTwo, []Vote{{Key: own.Key, Signature: [64]byte(ed25519.Sign(key, message))}})
		must(err)
		must(epoch.CheckCertificate(certificate, header, PhaseTwo))
		if err := epoch.CheckCertificate(certificate, parent, PhaseTwo); !errors.Is(err, StatusFalse) {
			t.Errorf("%v", err)
		}
		proof := Proof{Certificate: certificate}
		segment, err := NewSegment(parent, [][]byte{header}, proof)
		must(err)
		blocks := DecidedBlocks{First: height, Segment: segment, Payloads: [][]byte{payload}}
		if next != nil {
			blocks.Handover, err = NewHandover(header, proof, next)
			must(err)
			proven, err := epoch.Next(blocks.Handover)
			must(err)
			if !bytes.Equal(proven.Bytes(), next.Bytes()) || proven.Number != next.Number || proven.Last != height+3 {
				t.Fatalf("%+v", proven)
			}
			again, err := genesis.DecodeEpoch(proven.Bytes())
			must(err)
			epoch = again
		}
		if at, err := node.Submit(patient(t), blocks); err != nil || at != height {
			t.Fatalf("block %d: %d, %v", height, at, err)
		}
		parent = header
	}
	if position, _ := store.Position(); position.Applied != 7 {
		t.Errorf("%+v", position)
	}
}

func TestSubmitEndsWithItsContextAndWithTheNode(t *testing.T) {
	chain := newTestChain(t, 5)
	node, store := idle(chain, nil)
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	// It does not run yet.
	if _, err := node.Submit(gone, chain.decided(t, 1, 5)); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	node.Until = 5
	early := make(chan error, 1)
	blocks := chain.decided(t, 1, 5)
	go func() {
		_, err := node.Submit(patient(t), blocks)
		early <- err
	}()
	if err := node.Run(patient(t)); err != nil {
		t.Fatal(err)
	}
	// It ends with what was handed in, so that the answer and the end come together.
	if err := <-early; err != nil && !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if position, _ := store.Position(); position.Applied != 5 {
		t.Errorf("%+v", position)
	}
	if _, err := node.Submit(patient(t), blocks); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := node.Run(patient(t)); err == nil {
		t.Error("a node runs twice")
	}
}
