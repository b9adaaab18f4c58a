package interop

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/quicnet"
)

// rust runs a command of the Rust node to its end.
func rust(t *testing.T, arguments ...string) {
	t.Helper()
	if said, err := exec.Command(command(t), arguments...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
}

// balanceKey is the key of an account of the demo's ledger.
func balanceKey(account uint32) []byte { return binary.BigEndian.AppendUint32([]byte{'a'}, account) }

// fetch runs a node until it has fetched the state of the last block.
func (n *goNode) fetch(t *testing.T, want report) *hs2sync.State {
	t.Helper()
	n.node.State = hs2sync.NewState(n.store, n.node.Rules.Genesis.SnapshotInterval)
	n.node.Config = hs2sync.Config{"default_strategy": "fast", "strategy_switch_threshold": "100"}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	note, reached := n.node.OnEvent, false
	n.node.OnEvent = func(event hs2sync.Event) {
		note(event)
		if event.Code == hs2sync.EventReached && event.Height >= want.Head.Height {
			reached = true
			cancel()
		}
	}
	if err := n.node.Run(ctx); !reached || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	position, err := n.store.Position()
	if err != nil || position.Stored == nil || position.Stored.Height != want.Head.Height || position.Stored.ID != want.Head.ID {
		t.Fatalf("%+v %v", position, err)
	}
	stands, err := n.node.State.Position()
	if err != nil || stands == nil || stands.Height != want.Head.Height || stands.Root != want.Head.HeaderStateRoot || stands.Keys < 100 {
		t.Fatalf("%+v, not the root %s, %v", stands, want.Head.HeaderStateRoot, err)
	}
	if status, err := n.store.Status(); err != nil || status.Earliest != want.Head.Height+1 {
		t.Errorf("%+v %v", status, err)
	}
	return n.node.State
}

func TestAStateGoesFromRustToGoToGoToRust(t *testing.T) {
	folder := t.TempDir()
	out := filepath.Join(folder, "gen.json")
	genesisFile := filepath.Join(folder, "chain", "genesis.json")
	rust(t, "gen", "--dir", filepath.Join(folder, "chain"), "--blocks", "1500", "--validators", "4", "--epochs", "3", "--app",
		"ledger", "--snapshot-interval", "500", "--json", out)
	want := readReport(t, out)
	genesis, err := hs2sync.ReadGenesis(genesisFile)
	if err != nil || genesis.SnapshotInterval != 500 {
		t.Fatalf("%+v %v", genesis, err)
	}
	rules := hs2sync.Rules{Genesis: genesis}
	whole := serveFrom(t, filepath.Join(folder, "chain"))

	// A Rust node that has the state and none of the blocks below it: all that the first Go node meets.
	pruned := filepath.Join(folder, "pruned")
	rust(t, "sync", "--genesis", genesisFile, "--dir", pruned, "--app", "ledger", "--strategy", "fast", "--peer", whole.Address)
	serving := serveFrom(t, pruned)

	one := newGoNode(t, rules, filepath.Join(folder, "one"), false)
	one.network.Keep(serving.Address, &serving.PeerID)
	state := one.fetch(t, want)
	value, err := state.Get(balanceKey(7))
	if err != nil || len(value) != 8 {
		t.Fatalf("%x %v", value, err)
	}
	if err := one.store.Close(); err != nil {
		t.Fatal(err)
	}

	// The same store, in a node that serves what it holds.
	again := newGoNode(t, rules, filepath.Join(folder, "one"), false)
	again.node.State = hs2sync.NewState(again.store, genesis.SnapshotInterval)
	// One peer gives the whole state: on a machine with other work, half a core would make it say that it is busy.
	again.node.Work = 4 * time.Second
	again.follow(t)
	address := again.network.Addr().String()
	two := newGoNode(t, rules, filepath.Join(folder, "two"), false)
	two.network.Keep(address, nil)
	if found, err := two.fetch(t, want).Get(balanceKey(7)); err != nil || string(found) != string(value) {
		t.Errorf("%x %v", found, err)
	}
	synced := filepath.Join(folder, "sync.json")
	rust(t, "sync", "--genesis", genesisFile, "--dir", filepath.Join(folder, "three"), "--app", "ledger", "--strategy", "fast",
		"--peer", address, "--json", synced)
	if found := readReport(t, synced); !found.OK || found.Head != want.Head {
		t.Errorf("the Rust node is at %+v", found.Head)
	}
	if len(one.banned)+len(two.banned) != 0 {
		t.Errorf("%v %v", one.banned, two.banned)
	}

	// Light clients of both sides read the same value, from Rust and from Go.
	for _, server := range []string{whole.Address, address} {
		if found := readLight(t, folder, rules, server, balanceKey(7)); string(found) != string(value) {
			t.Errorf("%s: %x, not %x", server, found, value)
		}
		read := filepath.Join(folder, "light.json")
		rust(t, "light", "--genesis", genesisFile, "--peer", server, "--witnesses", "0", "--json", read, "get",
			"0x"+hex.EncodeToString(balanceKey(7)))
		var light struct {
			Read struct {
				Value string `json:"value"`
			} `json:"read"`
		}
		bytes, err := os.ReadFile(read)
		if err == nil {
			err = json.Unmarshal(bytes, &light)
		}
		if err != nil || light.Read.Value != hex.EncodeToString(value) {
			t.Errorf("%s: %+v %v", server, light, err)
		}
	}
}

// readLight reads a key with a light client in Go, from one peer.
func readLight(t *testing.T, folder string, rules hs2sync.Rules, server string, key []byte) []byte {
	t.Helper()
	identity, err := quicnet.LoadIdentity(filepath.Join(folder, "light.identity"))
	if err != nil {
		t.Fatal(err)
	}
	network, err := quicnet.Listen("127.0.0.1:0", identity)
	if err != nil {
		t.Fatal(err)
	}
	network.Keep(server, nil)
	settings, err := hs2sync.DefaultLightSettings()
	if err != nil {
		t.Fatal(err)
	}
	settings.Witnesses = 0
	node := &hs2sync.LightNode{
		LightStart: hs2sync.LightStart{Genesis: rules.Genesis, Settings: &settings},
		Network:    network,
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	answer, err := node.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	return answer.Value
}
