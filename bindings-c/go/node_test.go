package hs2sync

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"
)

// patience is after how long a test gives up: far longer than anything here takes.
const patience = 2 * time.Minute

func (c *testChain) honest() func([]byte) ([]byte, error) {
	return func(request []byte) ([]byte, error) { return Respond(Rules{Genesis: c.genesis}, c, request) }
}

// lying changes a byte in the middle of every long answer.
func (c *testChain) lying() func([]byte) ([]byte, error) {
	return func(request []byte) ([]byte, error) {
		answer, err := c.honest()(request)
		if len(answer) > 1000 {
			answer[len(answer)/2] ^= 1
		}
		return answer, err
	}
}

func run(t *testing.T, chain *testChain, store *memoryStore, network *memoryNetwork, until uint64) []Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var events []Event
	node := &Node{
		Rules: Rules{Genesis: chain.genesis}, Store: store, Network: network, Execute: store.execute, Until: until,
		OnEvent: func(event Event) { events = append(events, event) }, Log: slog.New(slog.DiscardHandler),
		Config: Config{"memory_budget": "16 MiB"},
	}
	if err := node.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return events
}

func (c *testChain) digest() (digest [32]byte) {
	for _, payload := range c.payloads[1 : c.blocks+1] {
		digest = sha256.Sum256(append(digest[:], payload...))
	}
	return digest
}

func TestANodeCatchesUpAndBansALiar(t *testing.T) {
	chain := newTestChain(t, 2500)
	store := newMemoryStore()
	liar := ID{9}
	network := &memoryNetwork{bans: map[ID]string{}, liar: &liar, found: make(chan struct{}), peers: map[ID]func([]byte) ([]byte, error){
		{1}: chain.honest(), {2}: chain.honest(), liar: chain.lying(),
	}}
	events := run(t, chain, store, network, chain.blocks)
	position, _ := store.Position()
	if position.Stored == nil || position.Stored.Height != chain.blocks || position.Stored.ID != chain.ids[chain.blocks] {
		t.Fatalf("ended at %+v", position.Stored)
	}
	if store.digest != chain.digest() {
		t.Fatal("other blocks were executed, or in another order")
	}
	banned := 0
	for _, event := range events {
		if event.Code == EventBanned {
			banned++
			if event.Peer != liar {
				t.Errorf("%s is banned: %s", event.Peer, event.Text)
			}
		}
	}
	if _, ok := network.bans[liar]; !ok || banned != 1 {
		t.Errorf("%d bans, the network was told of %v", banned, network.bans)
	}
	// Again, as after a restart: everything is there.
	before := store.digest
	run(t, chain, store, network, chain.blocks)
	if store.digest != before {
		t.Error("a block was executed twice")
	}
}

func TestBlocksThatWereStoredAndNotExecutedAreReplayed(t *testing.T) {
	chain := newTestChain(t, 300)
	store := newMemoryStore()
	peers := map[ID]func([]byte) ([]byte, error){{1}: chain.honest()}
	run(t, chain, store, &memoryNetwork{bans: map[ID]string{}, peers: peers}, chain.blocks)
	// The application lost what it did after block 100.
	store.position.Applied, store.digest = 100, [32]byte{}
	for _, payload := range chain.payloads[1:101] {
		store.digest = sha256.Sum256(append(store.digest[:], payload...))
	}
	run(t, chain, store, &memoryNetwork{bans: map[ID]string{}, peers: peers}, chain.blocks)
	if store.digest != chain.digest() || store.position.Applied != chain.blocks {
		t.Errorf("applied %d", store.position.Applied)
	}
}

func TestFailuresHaveAStatus(t *testing.T) {
	_, err := DecodeGenesis([]byte("no genesis"))
	var failure *Error
	if !errors.Is(err, StatusMalformed) || !errors.As(err, &failure) || failure.Text == "" {
		t.Errorf("%v", err)
	}
	chain := newTestChain(t, 3)
	_, err = NewMachine(Config{"no_such_setting": "1"}, Start{Rules: Rules{Genesis: chain.genesis}}, 1, 0)
	if !errors.Is(err, StatusUnknownName) {
		t.Errorf("%v", err)
	}
	if _, err := NewMachine(nil, Start{}, 1, 0); err == nil {
		t.Error("no rules are no chain")
	}
	machine, err := NewMachine(nil, Start{Rules: Rules{Genesis: chain.genesis}}, 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Close(); err != nil {
		t.Fatal(err)
	}
	if err := machine.Timeout(0); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if err := machine.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, err := (&Job{encoded: []byte{1, 2, 3}}).Run(Rules{Genesis: chain.genesis}); !errors.Is(err, StatusMalformed) {
		t.Errorf("%v", err)
	}
	if _, err := Respond(Rules{Genesis: chain.genesis}, chain, []byte{0xff}); !errors.Is(err, StatusMalformed) {
		t.Errorf("%v", err)
	}
	if name := CodeName(EventReached); name != "reached" {
		t.Errorf("%q", name)
	}
}

// failing is a store whose reads fail.
type failing struct{ *testChain }

func (failing) Segment(uint64) (*StoredSegment, error) { return nil, errAway }
func (failing) Payload(uint64) ([]byte, error)         { panic("on purpose") }

func TestAStoreThatFailsOrPanicsIsAnError(t *testing.T) {
	chain := newTestChain(t, 10)
	var requests [][]byte
	var mutex sync.Mutex
	peer := func(request []byte) ([]byte, error) {
		mutex.Lock()
		requests = append(requests, request)
		mutex.Unlock()
		return chain.honest()(request)
	}
	network := &memoryNetwork{bans: map[ID]string{}, peers: map[ID]func([]byte) ([]byte, error){{1}: peer}}
	run(t, chain, newMemoryStore(), network, chain.blocks)
	failed := 0
	for _, request := range requests {
		_, err := Respond(Rules{Genesis: chain.genesis}, failing{chain}, request)
		if err == nil {
			continue
		}
		failed++
		if !errors.Is(err, StatusHostFailed) {
			t.Errorf("%v", err)
		}
	}
	if failed == 0 {
		t.Error("no request read the store")
	}
}

func TestAServerAnswersInTurnAndForgetsWhoGaveUp(t *testing.T) {
	chain := newTestChain(t, 10)
	server, err := NewServer(Rules{Genesis: chain.genesis}, chain, 0)
	if err != nil {
		t.Fatal(err)
	}
	status := []byte{1, 0}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	// Whether it was its turn before it gave up is chance; nothing may be left behind either way.
	if _, done, err := server.Answer(gone, ID{1}, 1, status); err == nil {
		done()
	}
	for range 50 {
		answer, done, err := server.Answer(context.Background(), ID{2}, 2, status)
		if err != nil || len(answer) == 0 {
			t.Fatalf("%d bytes, %v", len(answer), err)
		}
		done()
	}
	if _, _, err := server.Answer(context.Background(), ID{3}, 3, []byte{0xff}); !errors.Is(err, StatusMalformed) {
		t.Errorf("%v", err)
	}
	if err := errors.Join(server.Close(), server.Close()); err != nil {
		t.Error(err)
	}
	if _, _, err := server.Answer(context.Background(), ID{3}, 3, status); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if len(server.waiting) != 0 {
		t.Error("somebody waits for ever")
	}
}
