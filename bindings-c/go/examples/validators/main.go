// Four validators in one process, over QUIC and Pebble. Their engines agree on blocks and hand them in; one comes late: it
// catches up from the others, its gate lets it into consensus, and from then on it votes.
//
//	go run ./examples/validators
package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/pebblestore"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/quicnet"
)

const (
	validators = 4
	quorum     = 3
	// late is the height at which the last one comes.
	late = 50
)

func main() {
	folder, err := os.MkdirTemp("", "validators")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	votes, err := run(ctx, folder, 150)
	if err != nil {
		log.Print(err)
		return
	}
	fmt.Printf("every block is durable everywhere; votes by validator: %v\n", votes)
}

// replica is one validator: its node, and the little of an engine that this example needs.
type replica struct {
	key     ed25519.PrivateKey
	genesis *hs2sync.Genesis
	store   *pebblestore.Store
	network *quicnet.Network
	node    *hs2sync.Node
	others  []*replica
	decided chan hs2sync.DecidedBlocks

	mutex sync.Mutex
	// permit is nil while it must not vote.
	permit *hs2sync.Permit
	// voted is the highest view that it voted in. A real engine writes that down, so that it survives a crash, before it votes.
	voted uint64
	votes int
}

func newReplica(folder string, index int, genesis *hs2sync.Genesis, key ed25519.PrivateKey) (*replica, error) {
	rules := hs2sync.Rules{Genesis: genesis}
	store, err := pebblestore.Open(filepath.Join(folder, fmt.Sprint(index)), rules)
	if err != nil {
		return nil, err
	}
	identity, err := quicnet.GenerateIdentity()
	if err != nil {
		return nil, err
	}
	network, err := quicnet.Listen("127.0.0.1:0", identity)
	if err != nil {
		return nil, err
	}
	r := &replica{key: key, genesis: genesis, store: store, network: network, decided: make(chan hs2sync.DecidedBlocks, 1000)}
	r.node = &hs2sync.Node{
		Rules: rules, Store: store, Network: network, Log: slog.New(slog.DiscardHandler),
		Execute: func(context.Context, []hs2sync.Block) error { return nil },
		Gate:    &hs2sync.GateSettings{Own: &hs2sync.Validator{Key: r.public(), Power: 1}},
	}
	return r, nil
}

func (r *replica) public() hs2sync.ID { return hs2sync.ID(r.key.Public().(ed25519.PublicKey)) }

// run runs the node and its engine until ctx is done.
func (r *replica) run(ctx context.Context) error {
	r.node.OnOrder = func(order hs2sync.Order) {
		switch order := order.(type) {
		case hs2sync.GateResume:
			r.take(&order.Permit)
		case hs2sync.GatePause:
			r.take(nil)
		case hs2sync.GateAsk:
			// It is on the node's loop, which must not wait.
			go r.ask(ctx, order.Challenge)
		}
	}
	ended := make(chan error, 2)
	go func() { ended <- r.node.Run(ctx) }()
	go func() {
		// The host's own record of its votes: here, that there are none.
		err := r.node.Votes(ctx, hs2sync.VotesNever, 0)
		for err == nil {
			select {
			case blocks := <-r.decided:
				// Durable when it returns. Where a peer was quicker, it is here already.
				_, err = r.node.Submit(ctx, blocks)
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		ended <- err
	}()
	err := <-ended
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return err
}

func (r *replica) take(permit *hs2sync.Permit) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.permit = permit
}

// ask brings the words of the others to this one's gate, as a network of the engine's own would.
func (r *replica) ask(ctx context.Context, challenge hs2sync.ID) {
	for _, other := range r.others {
		if word, err := other.word(challenge); err == nil {
			// One that does not hold counts for nothing.
			_ = r.node.Advert(ctx, word)
		}
	}
}

// word is where this one stands, signed.
func (r *replica) word(challenge hs2sync.ID) ([]byte, error) {
	position, err := r.store.Position()
	if err != nil {
		return nil, err
	}
	r.mutex.Lock()
	word := hs2sync.Word{Block: r.genesis.BlockID, View: r.voted, Challenge: challenge}
	r.mutex.Unlock()
	if position.Stored != nil && position.Applied == position.Stored.Height {
		word.Height, word.Block = position.Stored.Height, position.Stored.ID
	}
	return hs2sync.SignAdvert(r.key, r.genesis.ChainID, word, time.Now())
}

// vote signs for a header, where this one takes part. A real engine checks the proposal first, and its lock.
func (r *replica) vote(header []byte, view uint64) (*hs2sync.Vote, error) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.permit == nil || view <= r.permit.VoteAbove || view <= r.voted {
		return nil, nil
	}
	message, err := hs2sync.VoteBytes(header, hs2sync.PhaseTwo)
	if err != nil {
		return nil, err
	}
	r.voted = view
	r.votes++
	vote := &hs2sync.Vote{Key: r.public()}
	copy(vote.Signature[:], ed25519.Sign(r.key, message))
	return vote, nil
}

// hear hands a decided block to the engine, where this one takes part; another gets it from peers.
func (r *replica) hear(blocks hs2sync.DecidedBlocks) {
	r.mutex.Lock()
	takesPart := r.permit != nil
	r.mutex.Unlock()
	if takesPart {
		r.decided <- blocks
	}
}

// wait waits until a height is durable here.
func (r *replica) wait(ctx context.Context, height uint64) error {
	for {
		position, err := r.store.Position()
		if err != nil || position.Applied >= height {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("one stands at %d: %w", position.Applied, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// hasVoted says how often this one has voted.
func (r *replica) hasVoted() int {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	return r.votes
}

// found makes a chain and its validators, who know each other.
func found(folder string) (replicas []*replica, err error) {
	document := hs2sync.Document{
		Version: 1, Name: "four", TimestampMs: uint64(time.Now().UnixMilli()), LastHeight: 1 << 40, SnapshotInterval: 10_000,
	}
	keys := make([]ed25519.PrivateKey, validators)
	for i := range keys {
		// Real secrets are random, and each is known to one of them.
		keys[i] = ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), byte(i)))
		key := hs2sync.ID(keys[i].Public().(ed25519.PublicKey))
		document.Validators = append(document.Validators, hs2sync.Validator{Key: key, Power: 1})
	}
	genesis, err := hs2sync.NewGenesis(document)
	if err != nil {
		return nil, err
	}
	for i, key := range keys {
		r, err := newReplica(folder, i, genesis, key)
		if err != nil {
			return replicas, err
		}
		for _, other := range replicas {
			peer := other.network.PeerID()
			r.network.Keep(other.network.Addr().String(), &peer)
			r.others, other.others = append(r.others, other), append(other.others, r)
		}
		replicas = append(replicas, r)
	}
	return replicas, nil
}

// decide has whoever takes part vote for the next block. Nil where they are too few.
func decide(epoch *hs2sync.Epoch, replicas []*replica, parent []byte, height, view uint64) (
	header []byte, decided *hs2sync.DecidedBlocks, err error,
) {
	payload := fmt.Appendf(nil, "block %d, decided in view %d", height, view)
	header, err = epoch.NewHeader(parent, hs2sync.Proposal{
		View: view, TimestampMs: uint64(time.Now().UnixMilli()), Payload: payload,
	})
	if err != nil {
		return nil, nil, err
	}
	var votes []hs2sync.Vote
	for _, r := range replicas {
		vote, err := r.vote(header, view)
		if err != nil {
			return nil, nil, err
		}
		if vote != nil {
			votes = append(votes, *vote)
		}
	}
	if len(votes) < quorum {
		return nil, nil, nil
	}
	certificate, err := epoch.NewCertificate(header, hs2sync.PhaseTwo, votes)
	if err != nil {
		return nil, nil, err
	}
	segment, err := hs2sync.NewSegment(parent, [][]byte{header}, hs2sync.Proof{Certificate: certificate})
	if err != nil {
		return nil, nil, err
	}
	return header, &hs2sync.DecidedBlocks{First: height, Segment: segment, Payloads: [][]byte{payload}}, nil
}

// run has the validators decide so many blocks, and more until the last one votes too. It says how often each voted.
func run(ctx context.Context, folder string, blocks uint64) (votes []int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	failed := make(chan error, validators)
	replicas, err := found(folder)
	defer func() {
		cancel()
		group.Wait()
		for _, r := range replicas {
			err = errors.Join(err, r.store.Close())
		}
	}()
	if err != nil {
		return nil, err
	}
	start := func(r *replica) {
		group.Go(func() {
			if err := r.run(ctx); err != nil {
				failed <- err
			}
		})
	}
	last := replicas[validators-1]
	for _, r := range replicas[:validators-1] {
		start(r)
	}
	epoch, err := last.genesis.FirstEpoch()
	if err != nil {
		return nil, err
	}
	parent, err := last.genesis.Header()
	if err != nil {
		return nil, err
	}
	height := uint64(0)
	for view := uint64(1); height < blocks || last.hasVoted() == 0; view++ {
		select {
		case err := <-failed:
			return nil, err
		case <-ctx.Done():
			return nil, fmt.Errorf("at height %d: %w", height, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
		header, decided, err := decide(epoch, replicas, parent, height+1, view)
		if err != nil {
			return nil, err
		}
		if decided == nil {
			// Too few take part yet.
			continue
		}
		for _, r := range replicas {
			r.hear(*decided)
		}
		parent = header
		if height++; height == late {
			start(last)
		}
	}
	for _, r := range replicas {
		if err := r.wait(ctx, height); err != nil {
			return nil, err
		}
		votes = append(votes, r.hasVoted())
	}
	return votes, nil
}
