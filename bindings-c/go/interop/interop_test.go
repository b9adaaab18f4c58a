// Package interop has the tests of Go nodes beside the Rust node, which `cargo xtask test --only go` builds.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/pebblestore"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/quicnet"
)

// patience is after how long a test gives up: far longer than anything here takes.
const patience = 3 * time.Minute

// command is the Rust node's program.
func command(t *testing.T) string {
	t.Helper()
	path := os.Getenv("HS2_SYNC")
	if path == "" {
		t.Skip("HS2_SYNC is not the path of `hs2-sync`: `cargo xtask test --only go` builds it and sets that")
	}
	return path
}

// report is what the Rust node says of a store or a synchronization.
type report struct {
	Address string     `json:"address"`
	TCP     string     `json:"tcp"`
	PeerID  hs2sync.ID `json:"peer_id"`
	OK      bool       `json:"ok"`
	Peers   []struct {
		ID     hs2sync.ID `json:"id"`
		Banned *string    `json:"banned"`
	} `json:"peers"`
	Head struct {
		Height          uint64     `json:"height"`
		ID              hs2sync.ID `json:"id"`
		HeaderStateRoot hs2sync.ID `json:"header_state_root"`
	} `json:"head"`
}

func readReport(t *testing.T, path string) (found report) {
	t.Helper()
	bytes, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(bytes, &found)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// generate makes a chain whose blocks have state roots, and three epochs.
func generate(t *testing.T, folder string) report {
	t.Helper()
	out := filepath.Join(folder, "gen.json")
	gen := exec.Command(command(t), "gen", "--dir", filepath.Join(folder, "rust"), "--blocks", "1500", "--validators", "4",
		"--epochs", "3", "--app", "ledger", "--json", out)
	if said, err := gen.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	return readReport(t, out)
}

// serve starts a Rust node that serves the generated chain.
func serve(t *testing.T, folder string) report {
	t.Helper()
	return serveFrom(t, filepath.Join(folder, "rust"))
}

// serveFrom starts a Rust node that serves a store.
func serveFrom(t *testing.T, store string, more ...string) report {
	t.Helper()
	serving := exec.Command(command(t), append([]string{"serve", "--dir", store, "--json", "-"}, more...)...)
	pipe, err := serving.StdoutPipe()
	if err == nil {
		err = serving.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = serving.Process.Signal(os.Interrupt)
		_ = serving.Wait()
	})
	line, err := bufio.NewReader(pipe).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	var found report
	if err := json.Unmarshal(line, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// goNode is a node in Go, with what it was told of bans.
type goNode struct {
	store   *pebblestore.Store
	network *quicnet.Network
	node    *hs2sync.Node
	mutex   sync.Mutex
	banned  map[hs2sync.ID]string
}

// tip is the request for the newest proof of finality, which every node asks of every peer.
var tip = []byte{1, 2}

// liar is a network that changes the last byte of each such proof, which is a signature's.
type liar struct{ *quicnet.Network }

func (l liar) Serve(ctx context.Context, handler hs2sync.Handler, changes chan<- hs2sync.PeerChange) error {
	lie := func(ctx context.Context, peer hs2sync.ID, group uint64, request []byte) ([]byte, func(), error) {
		answer, done, err := handler(ctx, peer, group, request)
		if bytes.Equal(request, tip) && len(answer) > 100 {
			answer[len(answer)-1] ^= 1
		}
		return answer, done, err
	}
	return l.Network.Serve(ctx, lie, changes)
}

func newGoNode(t *testing.T, rules hs2sync.Rules, folder string, lies bool) *goNode {
	t.Helper()
	store, err := pebblestore.Open(folder, rules)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	identity, err := quicnet.LoadIdentity(folder + ".identity")
	if err != nil {
		t.Fatal(err)
	}
	network, err := quicnet.Listen("127.0.0.1:0", identity)
	if err != nil {
		t.Fatal(err)
	}
	n := &goNode{store: store, network: network, banned: map[hs2sync.ID]string{}}
	n.node = &hs2sync.Node{Rules: rules, Store: store, Network: network, Log: slog.New(slog.DiscardHandler)}
	if lies {
		n.node.Network = liar{network}
	}
	n.node.OnEvent = func(event hs2sync.Event) {
		n.mutex.Lock()
		defer n.mutex.Unlock()
		if event.Code == hs2sync.EventBanned {
			n.banned[event.Peer] = event.Text
		}
	}
	return n
}

// catchUp runs the node until it has reached a height.
func (n *goNode) catchUp(t *testing.T, until uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	n.node.Until = until
	if err := n.node.Run(ctx); err != nil {
		t.Fatal(err)
	}
}

// follow runs the node until the test ends.
func (n *goNode) follow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	n.node.Until = 0
	go func() { ended <- n.node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; ctx.Err() == nil {
			t.Error(err)
		}
	})
}

// isAt looks that the node's last block is the generated chain's.
func (n *goNode) isAt(t *testing.T, want report) {
	t.Helper()
	position, err := n.store.Position()
	if err != nil || position.Stored == nil {
		t.Fatalf("%+v %v", position, err)
	}
	if position.Stored.Height != want.Head.Height || position.Stored.ID != want.Head.ID {
		t.Errorf("the head is %d %s", position.Stored.Height, position.Stored.ID)
	}
	err = n.store.Blocks(want.Head.Height, want.Head.Height, func(block hs2sync.Block) error {
		if block.StateRoot != want.Head.HeaderStateRoot {
			t.Errorf("the state root is %s", block.StateRoot)
		}
		return nil
	})
	if err != nil || position.Applied != want.Head.Height || len(position.Links) < 2 {
		t.Errorf("applied %d, %d handovers, %v", position.Applied, len(position.Links), err)
	}
}

func TestGoAndRustCatchUpFromOneAnotherAndBanALiarForTheSame(t *testing.T) {
	folder := t.TempDir()
	want := generate(t, folder)
	genesis, err := hs2sync.ReadGenesis(filepath.Join(folder, "rust", "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	rules := hs2sync.Rules{Genesis: genesis}
	rust := serve(t, folder)

	// Go from Rust.
	one := newGoNode(t, rules, filepath.Join(folder, "one"), false)
	one.network.Keep(rust.Address, &rust.PeerID)
	one.catchUp(t, want.Head.Height)
	one.isAt(t, want)
	if err := one.store.Close(); err != nil {
		t.Fatal(err)
	}

	// The same store, in a node that serves; and a liar, who has caught up from it.
	again := newGoNode(t, rules, filepath.Join(folder, "one"), false)
	again.isAt(t, want)
	again.follow(t)
	first := newGoNode(t, rules, filepath.Join(folder, "liar"), false)
	first.network.Keep(again.network.Addr().String(), nil)
	first.catchUp(t, want.Head.Height)
	if err := first.store.Close(); err != nil {
		t.Fatal(err)
	}
	lies := newGoNode(t, rules, filepath.Join(folder, "liar"), true)
	lies.follow(t)

	// Go from Go and the liar, who comes first: the honest peer is dialled once the liar is banned.
	two := newGoNode(t, rules, filepath.Join(folder, "two"), false)
	note := two.node.OnEvent
	two.node.OnEvent = func(event hs2sync.Event) {
		note(event)
		if event.Code == hs2sync.EventBanned {
			two.network.Keep(again.network.Addr().String(), nil)
		}
	}
	two.network.Keep(lies.network.Addr().String(), nil)
	two.catchUp(t, want.Head.Height)
	two.isAt(t, want)

	// Rust from Go and the liar.
	out := filepath.Join(folder, "sync.json")
	sync := exec.Command(command(t), "sync", "--genesis", filepath.Join(folder, "rust", "genesis.json"), "--dir",
		filepath.Join(folder, "synced"), "--peer", again.network.Addr().String(), "--peer", lies.network.Addr().String(),
		"--json", out)
	said, err := sync.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	synced := readReport(t, out)
	if !synced.OK || synced.Head != want.Head {
		t.Errorf("the Rust node is at %+v", synced.Head)
	}

	// Both have met the lie, and call it the same; nobody honest is banned.
	if len(two.banned) != 1 {
		t.Errorf("the Go node has banned %v", two.banned)
	}
	words, met := two.banned[lies.network.PeerID()]
	for _, peer := range synced.Peers {
		if peer.Banned == nil {
			continue
		}
		if peer.ID != lies.network.PeerID() || !met || !strings.Contains(words, *peer.Banned) {
			t.Errorf("Rust bans %s for %q, Go says %q", peer.ID, *peer.Banned, words)
		}
		met = false
	}
	if met {
		t.Errorf("the Rust node has not banned the liar: %+v", synced.Peers)
	}
}
