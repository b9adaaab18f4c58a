package hs2sync

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"testing"
)

// memoryStates is an ordered store in memory.
type memoryStates struct {
	mutex   sync.Mutex
	keys    []string
	entries map[string][]byte
	// failing is returned by writes.
	failing error
}

func newMemoryStates() *memoryStates { return &memoryStates{entries: map[string][]byte{}} }

func (s *memoryStates) Get(key []byte) ([]byte, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.entries[string(key)], nil
}

func (s *memoryStates) Next(from, to []byte) (key, value []byte, err error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	at := sort.SearchStrings(s.keys, string(from))
	if at == len(s.keys) || s.keys[at] > string(to) {
		return nil, nil, nil
	}
	return []byte(s.keys[at]), s.entries[s.keys[at]], nil
}

func (s *memoryStates) Write(changes []Change) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.failing != nil {
		return s.failing
	}
	for _, change := range changes {
		key := string(change.Key)
		at, known := slices.BinarySearch(s.keys, key)
		switch {
		case change.Deleted && known:
			s.keys = slices.Delete(s.keys, at, at+1)
			delete(s.entries, key)
		case !change.Deleted:
			if !known {
				s.keys = slices.Insert(s.keys, at, key)
			}
			s.entries[key] = append([]byte{}, change.Value...)
		}
	}
	return nil
}

// memoryKeeper is a store in memory that keeps states too.
type memoryKeeper struct {
	*memoryStore
	*memoryStates
	prepared *Base
	base     *Base
	// died is closed where the store fails right before the blocks begin above a base, as a crash does; nil where it doesn't.
	died chan struct{}
	once sync.Once
}

var errDied = errors.New("died")

func (k *memoryKeeper) Sync() error              { return nil }
func (k *memoryKeeper) Close() error             { return nil }
func (k *memoryKeeper) View() (StateView, error) { return k, nil }
func (k *memoryKeeper) Prepare(base Base) error  { k.prepared = &base; return nil }
func (k *memoryKeeper) Prepared() (*Base, error) { return k.prepared, nil }
func (k *memoryKeeper) Discard() error           { k.prepared = nil; return nil }
func (k *memoryKeeper) Rebase(base Base) error {
	if k.died != nil {
		k.once.Do(func() { close(k.died) })
		return errDied
	}
	k.memoryStore.mutex.Lock()
	defer k.memoryStore.mutex.Unlock()
	k.blocks = map[uint64]Block{}
	k.position.Stored = &Stored{Height: base.Height, ID: base.ID}
	k.position.Applied = base.Height
	k.base, k.prepared = &base, nil
	return nil
}

// changesOf is what the block at a height does to the state.
func changesOf(height uint64) []Change {
	var changes []Change
	for i := range uint64(8) {
		number := height*7 + i
		if i == 7 {
			number = height % 97
		}
		changes = append(changes, Change{Key: fmt.Appendf(nil, "key %d", number), Value: fmt.Appendf(nil, "value of %d", height)})
	}
	return append(changes, Change{Key: fmt.Appendf(nil, "key %d", height*3), Deleted: true})
}

// stateChain is a chain with a state, and its peers' store.
type stateChain struct {
	*testChain
	states *memoryStates
	state  *State
}

func newStateChain(t testing.TB, blocks uint64) *stateChain {
	t.Helper()
	chain := &stateChain{states: newMemoryStates()}
	chain.state = NewState(chain.states, 1000)
	chain.testChain = newTestChainWith(t, blocks, 4, 40, func(height uint64) (ID, error) {
		if height > blocks {
			// The block above the last final one is executed by nobody.
			return ID{}, nil
		}
		return chain.state.Apply(height, changesOf(height), nil)
	})
	return chain
}

func (c *stateChain) honest() func([]byte) ([]byte, error) {
	return func(request []byte) ([]byte, error) {
		return RespondWithState(Rules{Genesis: c.genesis}, c, c.states, request)
	}
}

// fast is a node that fetches the state of a chain's snapshot, and executes what lies above.
func fast(chain *stateChain, keeper *memoryKeeper) (*Node, *bytes.Buffer) {
	executed := &bytes.Buffer{}
	state := NewState(keeper, chain.genesis.SnapshotInterval)
	network := &memoryNetwork{bans: map[ID]string{}, peers: map[ID]func([]byte) ([]byte, error){{1}: chain.honest()}}
	return &Node{
		Rules: Rules{Genesis: chain.genesis}, Store: keeper, Network: network, State: state,
		Config: Config{"default_strategy": "fast", "strategy_switch_threshold": "100"},
		Log:    slog.New(slog.DiscardHandler),
		Execute: func(_ context.Context, blocks []Block) error {
			for _, block := range blocks {
				if _, err := state.Apply(block.Height, changesOf(block.Height), &block.StateRoot); err != nil {
					return err
				}
				fmt.Fprintf(executed, "%d ", block.Height)
			}
			return nil
		},
	}, executed
}

// reach runs a node until it has reached a height.
func reach(t *testing.T, node *Node, height uint64) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	reached := false
	node.OnEvent = func(event Event) {
		if event.Code == EventReached && event.Height >= height {
			reached = true
			cancel()
		}
	}
	err := node.Run(ctx)
	if reached && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func TestANodeFetchesAStateAndExecutesWhatLiesAbove(t *testing.T) {
	chain := newStateChain(t, 1010)
	for _, dies := range []bool{false, true} {
		keeper := &memoryKeeper{memoryStore: newMemoryStore(), memoryStates: newMemoryStates()}
		if dies {
			keeper.died = make(chan struct{})
			// The state of block 1,000 is live, and the process dies before the blocks begin above it.
			node, _ := fast(chain, keeper)
			ctx, cancel := context.WithCancel(context.Background())
			go func() {
				<-keeper.died
				cancel()
			}()
			if err := node.Run(ctx); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			if keeper.prepared == nil || keeper.position.Stored != nil {
				t.Fatalf("%+v %+v", keeper.prepared, keeper.position)
			}
			keeper.died = nil
		}
		node, executed := fast(chain, keeper)
		if err := reach(t, node, chain.blocks); err != nil {
			t.Fatal(err)
		}
		want, wrong := chain.state.Position()
		have, err := node.State.Position()
		if err := errors.Join(err, wrong); err != nil || *have != *want {
			t.Errorf("%+v, the chain has %+v, %v", have, want, err)
		}
		if have.Root != chain.roots[chain.blocks] || keeper.base == nil || keeper.base.Height != 1000 || keeper.prepared != nil {
			t.Errorf("the base is %+v", keeper.base)
		}
		if executed.String() != "1001 1002 1003 1004 1005 1006 1007 1008 1009 1010 " {
			t.Errorf("executed %s", executed)
		}
		value, err := node.State.Get([]byte("key 3500"))
		if err != nil || string(value) != "value of 500" {
			t.Errorf("%q %v", value, err)
		}
	}
}

func TestAStateHasRootsAndSaysWhatIsWrong(t *testing.T) {
	store := newMemoryStates()
	state := NewState(store, 10)
	if position, err := state.Position(); position != nil || err != nil {
		t.Errorf("%+v %v", position, err)
	}
	root, err := state.Apply(0, []Change{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Value: nil}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	position, err := state.Position()
	if err != nil || position == nil || position.Root != root || position.Keys != 2 || position.NewestSnapshot != 0 {
		t.Errorf("%+v %v", position, err)
	}
	if value, err := state.Get([]byte("b")); value == nil || len(value) != 0 || err != nil {
		t.Errorf("%v %v", value, err)
	}
	if value, err := state.Get([]byte("c")); value != nil || err != nil {
		t.Errorf("%v %v", value, err)
	}
	var mismatch *MismatchError
	_, err = state.Apply(1, []Change{{Key: []byte("a"), Deleted: true}}, &ID{7})
	if !errors.As(err, &mismatch) || mismatch.Height != 1 || !errors.Is(err, StatusRefused) {
		t.Errorf("%v", err)
	}
	if _, err := state.Apply(0, nil, nil); !errors.Is(err, StatusWrongState) {
		t.Errorf("%v", err)
	}
	store.failing = errDied
	if _, err := state.Apply(1, []Change{{Key: []byte("a"), Deleted: true}}, nil); !errors.Is(err, errDied) {
		t.Errorf("%v", err)
	}
	store.failing = nil
	if value, err := state.Get([]byte("a")); string(value) != "1" || err != nil {
		t.Errorf("%q %v", value, err)
	}
	// A block with many changes, and long ones, goes over the border in one piece.
	var changes []Change
	for i := range 3000 {
		changes = append(changes, Change{Key: fmt.Appendf(nil, "%d", i), Value: bytes.Repeat([]byte{byte(i)}, 100)})
	}
	changes = append(changes, Change{Key: []byte("long"), Value: bytes.Repeat([]byte("x"), 65536)})
	if _, err := state.Apply(10, changes, nil); err != nil {
		t.Fatal(err)
	}
	value, err := state.Get([]byte("2999"))
	if err != nil || !bytes.Equal(value, changes[2999].Value) {
		t.Errorf("%v %v", value, err)
	}
	if position, err := state.Position(); err != nil || position.NewestSnapshot != 10 || position.Keys != 3003 {
		t.Errorf("%+v %v", position, err)
	}
}

func TestANodeWithAStateNeedsAKeeper(t *testing.T) {
	chain := newTestChain(t, 3)
	node := &Node{Rules: Rules{Genesis: chain.genesis}, Store: newMemoryStore(), State: NewState(newMemoryStates(), 0)}
	if err := node.Run(t.Context()); !errors.Is(err, errNoKeeper) {
		t.Errorf("%v", err)
	}
}
