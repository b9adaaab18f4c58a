package quicnet

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// patience is after how long a test gives up: far longer than anything here takes.
const patience = time.Minute

// end is a network that runs.
type end struct {
	*Network
	changes chan hs2sync.PeerChange
}

func start(t *testing.T, seed byte, handler hs2sync.Handler, dial string, expected *hs2sync.ID) end {
	t.Helper()
	identity, err := NewIdentity(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	network, err := Listen("127.0.0.1:0", identity)
	if err != nil {
		t.Fatal(err)
	}
	if dial != "" {
		network.Keep(dial, expected)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	made := end{network, make(chan hs2sync.PeerChange, 16)}
	go func() { ended <- network.Serve(ctx, handler, made.changes) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return made
}

func (e end) next(t *testing.T) hs2sync.PeerChange {
	t.Helper()
	select {
	case change := <-e.changes:
		return change
	case <-time.After(patience):
		t.Fatal("nobody came or went")
		return hs2sync.PeerChange{}
	}
}

func echo(_ context.Context, _ hs2sync.ID, _ uint64, request []byte) ([]byte, func(), error) {
	if len(request) == 0 {
		return nil, nil, errors.New("nothing was asked")
	}
	return append(request, request...), func() {}, nil
}

func TestPeersKnowEachOtherByKeyAndAskBothWays(t *testing.T) {
	one := start(t, 1, echo, "", nil)
	key := one.PeerID()
	two := start(t, 2, echo, one.Addr().String(), &key)
	if change := two.next(t); !change.Connected || change.Peer != key {
		t.Fatalf("%+v", change)
	}
	if change := one.next(t); !change.Connected || change.Peer != two.PeerID() || change.Group != 127<<8 {
		t.Fatalf("%+v", change)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for from, to := range map[*Network]hs2sync.ID{one.Network: two.PeerID(), two.Network: key} {
		answer, err := from.Ask(ctx, to, []byte("abc"), 6)
		if err != nil || string(answer) != "abcabc" {
			t.Errorf("%q %v", answer, err)
		}
		if _, err := from.Ask(ctx, to, []byte("abc"), 5); !errors.Is(err, hs2sync.ErrOversize) {
			t.Errorf("more than was asked for: %v", err)
		}
		if _, err := from.Ask(ctx, to, nil, 5); err == nil {
			t.Error("a refused request has an answer")
		}
		if _, err := from.Ask(ctx, to, make([]byte, maxRequestBytes+1), 5); err == nil {
			t.Error("a request that is too long has an answer")
		}
	}
	if _, err := one.Ask(ctx, hs2sync.ID{7}, nil, 5); !errors.Is(err, ErrNotConnected) {
		t.Errorf("%v", err)
	}
}

func TestABannedPeerIsPutOutAndKeptOutUntilItIsLifted(t *testing.T) {
	one := start(t, 3, echo, "", nil)
	two := start(t, 4, echo, one.Addr().String(), nil)
	peer := one.next(t).Peer
	one.Ban(peer, time.Hour, "for a test")
	if change := one.next(t); change.Connected || change.Peer != peer {
		t.Fatalf("%+v", change)
	}
	two.next(t)
	if change := two.next(t); change.Connected {
		t.Fatalf("%+v", change)
	}
	// It comes again, and is turned away each time; then it is let in.
	one.Lift(peer)
	if change := one.next(t); !change.Connected || change.Peer != peer {
		t.Fatalf("%+v", change)
	}
}

func TestAnotherKeyThanTheExpectedOneIsTurnedAway(t *testing.T) {
	one := start(t, 5, echo, "", nil)
	two := start(t, 6, echo, "", nil)
	other := two.PeerID()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := two.connect(ctx, dial{address: one.Addr().String(), expected: &other}); err == nil {
		t.Error("it had the expected key")
	}
	if _, err := one.connect(ctx, dial{address: one.Addr().String()}); err == nil {
		t.Error("a node connects to itself")
	}
}

func TestAnIdentityIsKeptInAFileOfItsOwners(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.key")
	made, err := LoadIdentity(path)
	if err != nil {
		t.Fatal(err)
	}
	again, err := LoadIdentity(path)
	if err != nil || again.PeerID() != made.PeerID() {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(path); err == nil {
		t.Error("a key that others can read is taken")
	}
	wrong := filepath.Join(t.TempDir(), "wrong.key")
	if err := os.WriteFile(wrong, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadIdentity(wrong); err == nil {
		t.Error("that is no key")
	}
}
