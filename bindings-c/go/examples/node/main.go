// A node in Go: catches up from its peers, follows the network, and serves others.
//
//	go run . -genesis genesis.json -data data -peer KEY@127.0.0.1:7001
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/pebblestore"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/quicnet"
)

func main() {
	genesisFile := flag.String("genesis", "genesis.json", "the chain's genesis document")
	data := flag.String("data", "data", "the folder of the store")
	listen := flag.String("listen", "127.0.0.1:0", "UDP address to listen at")
	until := flag.Uint64("until", 0, "end at this height; 0 follows the network")
	var peers []string
	flag.Func("peer", "ADDRESS or KEY@ADDRESS of a peer; may be repeated", func(text string) error {
		peers = append(peers, text)
		return nil
	})
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *genesisFile, *data, *listen, peers, *until); err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, genesisFile, data, listen string, peers []string, until uint64) error {
	genesis, err := hs2sync.ReadGenesis(genesisFile)
	if err != nil {
		return err
	}
	rules := hs2sync.Rules{Genesis: genesis}
	store, err := pebblestore.Open(data, rules)
	if err != nil {
		return err
	}
	defer store.Close()
	identity, err := quicnet.LoadIdentity(data + ".identity")
	if err != nil {
		return err
	}
	network, err := quicnet.Listen(listen, identity)
	if err != nil {
		return err
	}
	for _, text := range peers {
		key, address, named := strings.Cut(text, "@")
		if !named {
			network.Keep(text, nil)
			continue
		}
		peer, err := hs2sync.ParseID(key)
		if err != nil {
			return err
		}
		network.Keep(address, &peer)
	}
	fmt.Printf("listening at %s as %s\n", network.Addr(), network.PeerID())
	var applied atomic.Uint64
	node := &hs2sync.Node{
		Rules: rules, Store: store, Network: network, Until: until,
		// A real application executes the payloads here, and keeps what it has done.
		Execute: func(_ context.Context, blocks []hs2sync.Block) error {
			applied.Add(uint64(len(blocks)))
			return nil
		},
	}
	err = node.Run(ctx)
	if position, wrong := store.Position(); wrong == nil && position.Stored != nil {
		fmt.Printf("%d blocks executed, height %d, head %s\n", applied.Load(), position.Stored.Height, position.Stored.ID)
	}
	return err
}
