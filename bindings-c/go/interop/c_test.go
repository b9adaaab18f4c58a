package interop

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// cNode is a node in C over TCP: the example tcp.c.
type cNode struct {
	port, key string
	lines     chan string
}

// attempts is how often a node may be done before it has asked the liar.
const attempts = 10

// startC starts a node in C that catches up to a height from the peers at these ports, and serves until the test ends.
func startC(t *testing.T, genesis, height, says string, ports ...string) *cNode {
	t.Helper()
	path := os.Getenv("HS2_C_NODE")
	if path == "" {
		t.Skip("HS2_C_NODE is not the path of the example tcp.c: `cargo xtask test --only go` builds it and sets that")
	}
	node := exec.Command(path, append([]string{genesis, height, says}, ports...)...)
	node.Stderr = os.Stderr
	input, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := node.StdoutPipe()
	if err == nil {
		err = node.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	made := &cNode{lines: make(chan string, 1000)}
	go func() {
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			made.lines <- scanner.Text()
		}
		close(made.lines)
	}()
	t.Cleanup(func() {
		_ = input.Close()
		if err := node.Wait(); err != nil {
			t.Errorf("the node in C: %v", err)
		}
	})
	if _, err := fmt.Sscanf(made.wait(t, "listening"), "listening %s %s", &made.port, &made.key); err != nil {
		t.Fatal(err)
	}
	return made
}

// wait waits for a line that begins with a word.
func (c *cNode) wait(t *testing.T, word string) string {
	t.Helper()
	over := time.After(patience)
	for {
		select {
		case line, ok := <-c.lines:
			if !ok {
				t.Fatalf("the node in C ended without %q", word)
			}
			if strings.HasPrefix(line, word+" ") {
				return line
			}
		case <-over:
			t.Fatalf("the node in C never said %q", word)
		}
	}
}

func TestCAndRustCatchUpFromOneAnotherOverTCPAndBanALiarForTheSame(t *testing.T) {
	folder := t.TempDir()
	want := generate(t, folder)
	genesis, err := hs2sync.ReadGenesis(filepath.Join(folder, "rust", "genesis.json"))
	if err != nil {
		t.Fatal(err)
	}
	document := filepath.Join(folder, "genesis.bin")
	if err := os.WriteFile(document, genesis.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	height := fmt.Sprint(want.Head.Height)
	reached := fmt.Sprintf("reached %d %s %s", want.Head.Height, want.Head.ID, want.Head.HeaderStateRoot)
	serving := serveFrom(t, filepath.Join(folder, "rust"), "--tcp", "127.0.0.1:0")
	_, port, err := net.SplitHostPort(serving.TCP)
	if err != nil {
		t.Fatal(err)
	}

	// C from Rust, C from C, C from a liar, and C from the liar and C. The one that has the liar alone is sure to ask it: a node
	// with another peer may be done before it does.
	one := startC(t, document, height, "honest", port)
	if line := one.wait(t, "reached"); line != reached {
		t.Errorf("%q, not %q", line, reached)
	}
	liar := startC(t, document, height, "lies", one.port)
	if line := liar.wait(t, "reached"); line != reached {
		t.Errorf("%q, not %q", line, reached)
	}
	banned := startC(t, document, height, "honest", liar.port).wait(t, "banned")
	if !strings.HasPrefix(banned, "banned "+liar.key+" bad_certificate ") {
		t.Errorf("%q, the liar is %s", banned, liar.key)
	}
	two := startC(t, document, height, "honest", liar.port, one.port)
	if line := two.wait(t, "reached"); line != reached {
		t.Errorf("%q, not %q", line, reached)
	}

	// Rust from C and the liar in C: again where it was done before it asked the liar.
	met := 0
	for attempt := 0; attempt < attempts && met == 0; attempt++ {
		out := filepath.Join(folder, fmt.Sprintf("sync-%d.json", attempt))
		sync := exec.Command(command(t), "sync", "--genesis", filepath.Join(folder, "rust", "genesis.json"), "--dir",
			filepath.Join(folder, fmt.Sprintf("synced-%d", attempt)), "--peer", "tcp://127.0.0.1:"+liar.port, "--peer",
			"tcp://127.0.0.1:"+two.port, "--json", out)
		if said, err := sync.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, said)
		}
		synced := readReport(t, out)
		if !synced.OK || synced.Head != want.Head {
			t.Errorf("the Rust node is at %+v", synced.Head)
		}
		for _, peer := range synced.Peers {
			if peer.Banned == nil {
				continue
			}
			met++
			if peer.ID.String() != liar.key || !strings.Contains(banned, *peer.Banned) {
				t.Errorf("Rust bans %s for %q, C says %q", peer.ID, *peer.Banned, banned)
			}
		}
	}
	if met != 1 {
		t.Errorf("the Rust node has banned %d", met)
	}
}
