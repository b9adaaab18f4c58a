package hs2sync_test

import (
	"fmt"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

func document() hs2sync.Document {
	key, _ := hs2sync.ParseID("b9e4ad3b9b0bcae01a02e7d2639854ed90b5244713e7d753632e2f66374ecdd6")
	return hs2sync.Document{
		Version: 1, Name: "example", TimestampMs: 1_700_000_000_000, LastHeight: 1000, SnapshotInterval: 10_000,
		Validators: []hs2sync.Validator{{Key: key, Power: 1}},
	}
}

// A genesis is made of a document, or read from genesis.json with ReadGenesis.
func ExampleNewGenesis() {
	genesis, err := hs2sync.NewGenesis(document())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(genesis.ChainID)
	// Output: 6b2579a671d4c7dd1b9bd7ed584e2a302886b02aa3acbb91f36eccb0e14218ba
}

// A machine takes facts in and gives work out, until it waits. Node does all of this.
func ExampleMachine() {
	genesis, err := hs2sync.NewGenesis(document())
	if err != nil {
		fmt.Println(err)
		return
	}
	machine, err := hs2sync.NewMachine(nil, hs2sync.Start{Rules: hs2sync.Rules{Genesis: genesis}}, 7, 0)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer machine.Close()
	now := time.Second
	facts := []func() error{
		func() error { return machine.Start(now, hs2sync.Never) },
		func() error { return machine.Connected(now, hs2sync.ID{1}, 1) },
	}
	for _, fact := range facts {
		if err := fact(); err != nil {
			fmt.Println(err)
		}
		for waits := false; !waits; {
			output, err := machine.Poll()
			if err != nil {
				fmt.Println(err)
				return
			}
			switch output := output.(type) {
			case hs2sync.Request:
				fmt.Printf("ask peer %s for %d bytes at most\n", output.Peer.String()[:4], output.MaxResponseBytes)
			case hs2sync.Event:
				fmt.Println(output.Text)
			case hs2sync.Wait:
				waits = true
			}
		}
	}
	// Output: ask peer 0100 for 17408 bytes at most
}

// A state in a store of the host's has a root after each block; the library fetches it from others and serves it.
func ExampleState() {
	state := hs2sync.NewState(newStore(), 10_000)
	root, err := state.Apply(1, []hs2sync.Change{{Key: []byte("alice"), Value: []byte("7")}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	value, err := state.Get([]byte("alice"))
	fmt.Printf("%s %s %v\n", root.String()[:8], value, err)
	// Output: 74076aa0 7 <nil>
}

// A light client is driven as a machine is; LightNode does all of this over a network.
func ExampleLight() {
	genesis, err := hs2sync.NewGenesis(document())
	if err != nil {
		fmt.Println(err)
		return
	}
	light, err := hs2sync.NewLight(hs2sync.LightStart{Genesis: genesis}, 7, 0, time.UnixMilli(1_700_000_000_000))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer light.Close()
	if err := light.Start(time.Second); err != nil {
		fmt.Println(err)
	}
	if err := light.Connected(time.Second, hs2sync.ID{1}, 1); err != nil {
		fmt.Println(err)
	}
	for {
		output, err := light.Poll()
		if err != nil {
			fmt.Println(err)
			return
		}
		switch output := output.(type) {
		case hs2sync.Request:
			fmt.Printf("ask peer %s\n", output.Peer.String()[:4])
		case hs2sync.Wait:
			return
		}
	}
	// Output: ask peer 0100
}

// store is an ordered store in memory.
type store map[string][]byte

func newStore() store { return store{} }

func (s store) Get(key []byte) ([]byte, error) { return s[string(key)], nil }

func (s store) Next(from, to []byte) (key, value []byte, err error) {
	found := ""
	for key := range s {
		if key >= string(from) && key <= string(to) && (found == "" || key < found) {
			found = key
		}
	}
	if found == "" {
		return nil, nil, nil
	}
	return []byte(found), s[found], nil
}

func (s store) Write(changes []hs2sync.Change) error {
	for _, change := range changes {
		if change.Deleted {
			delete(s, string(change.Key))
		} else {
			s[string(change.Key)] = change.Value
		}
	}
	return nil
}
