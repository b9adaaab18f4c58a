package hs2sync

import (
	"crypto/ed25519"
	"errors"
	"testing"
	"time"
)

// settle drives a machine until it waits, with answers of the chain, blocks that are executed at once, and one peer.
func settle(t *testing.T, machine *Machine, chain *testChain, now *time.Duration) {
	t.Helper()
	rules := Rules{Genesis: chain.genesis}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for {
		output, err := machine.Poll()
		must(err)
		*now += time.Microsecond
		switch output := output.(type) {
		case Request:
			answer, err := Respond(rules, chain, output.Bytes)
			must(err)
			must(machine.Response(*now, output.ID, answer))
		case Verify:
			verdict, err := output.Job.Run(rules)
			must(err)
			must(machine.Verdict(*now, verdict))
		case *Call:
			must(machine.Applied(*now, output.ID, output.Last, 0, 0))
		case Wait:
			return
		}
	}
}

// orders are what a gate says until it waits, and why it does.
func orders(t *testing.T, gate *Gate) (said []Order, waits WaitReason) {
	t.Helper()
	for {
		order, err := gate.Poll()
		if err != nil {
			t.Fatal(err)
		}
		if wait, ok := order.(GateWait); ok {
			return said, wait.Reason
		}
		said = append(said, order)
	}
}

// one is the first order of a kind.
func one[T Order](said []Order) (found T, ok bool) {
	for _, order := range said {
		if found, ok = order.(T); ok {
			return found, true
		}
	}
	return found, false
}

// caughtUp is a machine that has all of the chain, and its gate, which knows that this key has never voted.
func caughtUp(t *testing.T, chain *testChain, wall time.Time) (*Machine, *Gate) {
	t.Helper()
	machine, err := NewMachine(nil, Start{Rules: Rules{Genesis: chain.genesis}}, 7, 0)
	if err != nil {
		t.Fatal(err)
	}
	own := Validator{Key: ID(chain.keys[0].Public().(ed25519.PublicKey)), Power: 1}
	gate, err := machine.NewGate(GateSettings{Own: &own})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(gate.Close(), machine.Close()); err != nil {
			t.Error(err)
		}
	})
	now := time.Duration(0)
	if err := errors.Join(machine.Start(now, Never), machine.Connected(now, ID{1}, 1)); err != nil {
		t.Fatal(err)
	}
	settle(t, machine, chain, &now)
	if err := errors.Join(gate.Votes(VotesNever, 0), gate.Sync(wall)); err != nil {
		t.Fatal(err)
	}
	return machine, gate
}

func TestAValidatorTakesPartOnceItHasCaughtUpAndLeavesWhenItFallsBehind(t *testing.T) {
	chain := newTestChain(t, 20)
	_, gate := caughtUp(t, chain, time.UnixMilli(1_700_000_000_100))
	said, waits := orders(t, gate)
	resume, ok := one[GateResume](said)
	if !ok || waits != 0 || resume.Permit.Height != 20 || resume.Permit.ID != chain.ids[20] {
		t.Fatalf("%+v, waits for %d", said, waits)
	}
	// The block is final by a certified child, with which consensus goes on.
	if len(resume.Permit.Headers) != 1 || string(resume.Permit.Headers[0]) != string(chain.headers[21]) {
		t.Errorf("%d headers", len(resume.Permit.Headers))
	}
	if err := chain.epoch.CheckCertificate(resume.Permit.Certificate, chain.headers[21], PhaseOne); err != nil {
		t.Error(err)
	}
	if err := gate.Behind(20 + 65); err != nil {
		t.Fatal(err)
	}
	said, waits = orders(t, gate)
	if pause, ok := one[GatePause](said); !ok || pause.Reason != PauseBehind || waits == 0 {
		t.Errorf("%+v, waits for %d", said, waits)
	}
}

func TestAnOldTipIsTheNetworksWhereAQuorumSaysSo(t *testing.T) {
	chain := newTestChain(t, 20)
	wall := time.UnixMilli(1_700_000_000_000).Add(time.Hour)
	_, gate := caughtUp(t, chain, wall)
	said, waits := orders(t, gate)
	ask, ok := one[GateAsk](said)
	if _, resumed := one[GateResume](said); !ok || resumed || waits != WaitNotKnown {
		t.Fatalf("%+v, waits for %d", said, waits)
	}
	word := Word{Height: 20, Block: chain.ids[20], View: 30, Challenge: ask.Challenge}
	for _, key := range chain.keys[1:] {
		advert, err := SignAdvert(key, chain.genesis.ChainID, word, wall)
		if err != nil {
			t.Fatal(err)
		}
		if err := gate.Advert(wall, chain.epoch, advert); err != nil {
			t.Fatal(err)
		}
		advert[len(advert)-1] ^= 1
		if err := gate.Advert(wall, chain.epoch, advert); !errors.Is(err, StatusFalse) {
			t.Errorf("a bent word: %v", err)
		}
	}
	said, waits = orders(t, gate)
	if resume, ok := one[GateResume](said); !ok || waits != 0 || resume.Permit.Height != 20 {
		t.Errorf("%+v, waits for %d", said, waits)
	}
}

func TestALostRecordOfVotesGivesNoPermit(t *testing.T) {
	chain := newTestChain(t, 5)
	wall := time.UnixMilli(1_700_000_000_100)
	_, gate := caughtUp(t, chain, wall)
	said, _ := orders(t, gate)
	if _, ok := one[GateResume](said); !ok {
		t.Fatalf("%+v", said)
	}
	if err := errors.Join(gate.Votes(VotesLost, 0), gate.Sync(wall)); err != nil {
		t.Fatal(err)
	}
	said, waits := orders(t, gate)
	if pause, ok := one[GatePause](said); !ok || pause.Reason != PauseVotesLost || waits != WaitVotesLost {
		t.Errorf("%+v, waits for %d", said, waits)
	}
	if err := gate.Votes(9, 0); !errors.Is(err, StatusInvalidArgument) {
		t.Errorf("%v", err)
	}
}

func TestALostRecordIsRestoredWhereViewsAreCertified(t *testing.T) {
	chain := newTestChain(t, 5)
	wall := time.UnixMilli(1_700_000_000_100)
	machine, _ := caughtUp(t, chain, wall)
	own := Validator{Key: ID(chain.keys[0].Public().(ed25519.PublicKey)), Power: 1}
	gate, err := machine.NewGate(GateSettings{Own: &own, CertifiedViews: true})
	if err != nil {
		t.Fatal(err)
	}
	defer gate.Close()
	if err := errors.Join(gate.Votes(VotesLost, 0), gate.Sync(wall)); err != nil {
		t.Fatal(err)
	}
	said, waits := orders(t, gate)
	ask, ok := one[GateAsk](said)
	if !ok || !ask.Certificates || waits != WaitRestoring {
		t.Fatalf("%+v, waits for %d", said, waits)
	}
	// The others have left view 39 without a block; one has seen the certificate of the block above the final one.
	timeout := func(view uint64) []byte {
		message, err := TimeoutBytes(chain.genesis.ChainID, 0, view)
		if err != nil {
			t.Fatal(err)
		}
		var votes []Vote
		for _, key := range chain.keys[1:] {
			vote := Vote{Key: ID(key.Public().(ed25519.PublicKey))}
			copy(vote.Signature[:], ed25519.Sign(key, message))
			votes = append(votes, vote)
		}
		certificate, err := chain.epoch.NewTimeout(view, votes)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := chain.epoch.CheckTimeout(certificate); found != view || err != nil {
			t.Errorf("%d %v", found, err)
		}
		return certificate
	}
	proof, err := chain.proof(5)
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range []uint64{40, 42} {
		wall = wall.Add(time.Millisecond)
		for _, key := range chain.keys[1:] {
			word := Word{Height: 5, Block: chain.ids[5], View: view, Challenge: ask.Challenge, High: proof.Certificate,
				EnteredBy: timeout(view - 1)}
			advert, err := SignAdvert(key, chain.genesis.ChainID, word, wall)
			if err == nil {
				err = gate.Advert(wall, chain.epoch, advert)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	said, waits = orders(t, gate)
	resume, ok := one[GateResume](said)
	if !ok || waits != 0 || resume.Permit.VoteAbove != 41 || resume.Permit.LockView != 6 || string(resume.Permit.Lock) != string(proof.Certificate) {
		t.Errorf("%+v, waits for %d", said, waits)
	}
}

func TestANodesEngineIsResumedWhenTheNodeHasCaughtUp(t *testing.T) {
	chain := newTestChain(t, 30)
	node, store := idle(chain, map[ID]func([]byte) ([]byte, error){{1}: chain.honest()})
	own := Validator{Key: ID(chain.keys[0].Public().(ed25519.PublicKey)), Power: 1}
	// The chain's tip is years old: words of the others show that it is the newest.
	node.Gate = &GateSettings{Own: &own}
	said := make(chan Order, 100)
	node.OnOrder = func(order Order) { said <- order }
	start(t, node)
	ctx := patient(t)
	if err := node.Votes(ctx, VotesNever, 0); err != nil {
		t.Fatal(err)
	}
	for {
		var order Order
		select {
		case order = <-said:
		case <-ctx.Done():
			t.Fatal("nobody was resumed")
		}
		switch order := order.(type) {
		case GateAsk:
			word := Word{Height: 30, Block: chain.ids[30], View: 31, Challenge: order.Challenge}
			for _, key := range chain.keys[1:] {
				advert, err := SignAdvert(key, chain.genesis.ChainID, word, time.Now())
				if err != nil {
					t.Fatal(err)
				}
				if err := node.Advert(ctx, advert); err != nil {
					t.Fatal(err)
				}
			}
			if err := node.Advert(ctx, []byte("no word")); err == nil {
				t.Error("anything is a word")
			}
			continue
		case GateResume:
			position, _ := store.Position()
			if order.Permit.Height != 30 || order.Permit.ID != chain.ids[30] || position.Applied != 30 {
				t.Errorf("%+v at %d", order.Permit, position.Applied)
			}
		default:
			continue
		}
		break
	}
	if err := node.Behind(ctx, 1000); err != nil {
		t.Fatal(err)
	}
	for paused := false; !paused; {
		select {
		case order := <-said:
			_, paused = order.(GatePause)
		case <-ctx.Done():
			t.Fatal("nobody was paused")
		}
	}
	if err := (&Node{}).Votes(ctx, VotesNever, 0); err == nil {
		t.Error("a node without a gate takes votes")
	}
}
