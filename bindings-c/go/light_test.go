package hs2sync

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"
)

// visit runs a light client over a chain's peers until the test ends.
func visit(t *testing.T, chain *stateChain, checkpoint []byte, peers map[ID]func([]byte) ([]byte, error)) (*LightNode, *memoryNetwork, chan Keep) {
	t.Helper()
	settings, err := DefaultLightSettings()
	if err != nil || settings.Witnesses != 2 || settings.PeerTimeout != 10*time.Second || settings.BanDuration != 24*time.Hour {
		t.Fatalf("%+v %v", settings, err)
	}
	settings.StatusInterval = 100 * time.Millisecond
	network := &memoryNetwork{bans: map[ID]string{}, peers: peers}
	kept := make(chan Keep, 16)
	node := &LightNode{
		LightStart: LightStart{Genesis: chain.genesis, Checkpoint: checkpoint, Settings: &settings},
		Network:    network, Log: slog.New(slog.DiscardHandler), OnKeep: func(keep Keep) { kept <- keep },
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, err := node.Get(context.Background(), []byte("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("%v", err)
		}
	})
	return node, network, kept
}

func TestALightClientReadsProvenValuesAndStartsAgainFromItsCheckpoint(t *testing.T) {
	chain := newStateChain(t, 1005)
	peers := map[ID]func([]byte) ([]byte, error){{1}: chain.honest(), {2}: chain.honest(), {3}: chain.honest()}
	node, network, kept := visit(t, chain, nil, peers)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := node.Get(ctx, []byte("key 3500"))
	if err != nil || string(answer.Value) != "value of 500" || answer.Block.Height != chain.blocks || answer.Block.StateRoot != chain.roots[chain.blocks] {
		t.Fatalf("%+v %v", answer, err)
	}
	if answer, err = node.Get(ctx, []byte("nobody's")); err != nil || answer.Value != nil {
		t.Errorf("%+v %v", answer, err)
	}
	if answer, err = node.GetAt(ctx, []byte("key 3500"), AtHeight, 1000); err != nil || answer.Block.ID != chain.ids[1000] {
		t.Errorf("%+v %v", answer, err)
	}
	if answer, err = node.Header(ctx, 1001); err != nil || answer.Block.ID != chain.ids[1001] {
		t.Errorf("%+v %v", answer, err)
	}
	if answer, err = node.Bodies(ctx, 1000, 1003); err != nil || answer.First != 1000 || len(answer.Payloads) != 4 || string(answer.Payloads[3]) != string(chain.payloads[1003]) {
		t.Errorf("%+v %v", answer, err)
	}
	var refused *LightError
	if _, err = node.Header(ctx, chain.blocks+9); !errors.Is(err, LightOutOfReach) || !errors.As(err, &refused) || refused.Text == "" {
		t.Errorf("%v", err)
	}
	if len(network.bans) != 0 {
		t.Errorf("%v", network.bans)
	}
	keep := <-kept
	if keep.Height != chain.blocks {
		t.Errorf("kept at %d", keep.Height)
	}
	again, _, _ := visit(t, chain, keep.Checkpoint, peers)
	if answer, err = again.Get(ctx, []byte("key 3500")); err != nil || string(answer.Value) != "value of 500" {
		t.Errorf("%+v %v", answer, err)
	}
}

func TestALightClientBansWhoeverShowsAFalseBlock(t *testing.T) {
	chain := newStateChain(t, 30)
	liar := ID{9}
	lies := func(request []byte) ([]byte, error) {
		answer, err := chain.honest()(request)
		if len(answer) > 200 {
			answer[len(answer)-1] ^= 1
		}
		return answer, err
	}
	peers := map[ID]func([]byte) ([]byte, error){{1}: chain.honest(), {2}: chain.honest(), {3}: chain.honest(), liar: lies}
	node, network, _ := visit(t, chain, nil, peers)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if answer, err := node.Get(ctx, []byte("key 7")); err != nil || string(answer.Value) == "" {
		t.Errorf("%+v %v", answer, err)
	}
	for range 600 {
		network.mutex.Lock()
		reason, banned := network.bans[liar]
		others := len(network.bans)
		network.mutex.Unlock()
		if banned {
			if reason != "bad_certificate" || others != 1 {
				t.Errorf("%q, %d bans", reason, others)
			}
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Error("the liar is not banned")
}

func TestALightClientIsDrivenByHand(t *testing.T) {
	chain := newStateChain(t, 3)
	settings, _ := DefaultLightSettings()
	settings.Witnesses = 40
	_, err := NewLight(LightStart{Genesis: chain.genesis, Settings: &settings}, 7, 0, time.Now())
	if !errors.Is(err, StatusOutOfRange) {
		t.Errorf("%v", err)
	}
	if _, err = NewLight(LightStart{Genesis: chain.genesis, Checkpoint: []byte("none")}, 7, 0, time.Now()); !errors.Is(err, StatusMalformed) {
		t.Errorf("%v", err)
	}
	light, err := NewLight(LightStart{Genesis: chain.genesis}, 7, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	question, err := light.Get(0, []byte("key"), AtNow, 0)
	if err != nil {
		t.Fatal(err)
	}
	output, err := light.Poll()
	if answered, ok := output.(Answered); !ok || err != nil || answered.Question != question || !errors.Is(answered.Err, LightStopped) {
		t.Errorf("%+v %v", output, err)
	}
	if checkpoint, err := light.Checkpoint(); checkpoint != nil || err != nil {
		t.Errorf("%v %v", checkpoint, err)
	}
	if _, err := light.Evidence(); !errors.Is(err, StatusNotFound) {
		t.Errorf("%v", err)
	}
	position, err := light.Position()
	if err != nil || position.Freshness != UnknownAge || position.Tip.Height != 0 {
		t.Errorf("%+v %v", position, err)
	}
	if err := errors.Join(light.Start(1), light.Connected(1, ID{1}, 1), light.Wall(2, time.Now()), light.Timeout(3),
		light.Drop(3, question), light.Disconnected(4, ID{1}), light.Stop(5), light.Close()); err != nil {
		t.Error(err)
	}
	if err := light.Start(6); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}
