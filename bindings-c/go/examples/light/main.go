// A light client in Go: reads proven values of a chain's state, and stores nothing but a checkpoint to start from next time.
//
//	go run . -genesis genesis.json -peer KEY@127.0.0.1:7001 -account 7
package main

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"strings"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/quicnet"
)

func main() {
	genesisFile := flag.String("genesis", "genesis.json", "the chain's genesis document")
	checkpoint := flag.String("checkpoint", "light.checkpoint", "the file to start from, and to keep the next start in")
	account := flag.Uint("account", 0, "an account of the demo's ledger")
	witnesses := flag.Uint("witnesses", 0, "peers of other groups that must prove the same block")
	var peers []string
	flag.Func("peer", "ADDRESS or KEY@ADDRESS of a peer; may be repeated", func(text string) error {
		peers = append(peers, text)
		return nil
	})
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	balance, block, err := run(ctx, *genesisFile, *checkpoint, peers, uint32(*witnesses), uint32(*account))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("account %d has %d after block %d %s\n", *account, balance, block.Height, block.ID)
}

func run(ctx context.Context, genesisFile, checkpoint string, peers []string, witnesses, account uint32) (balance uint64, block hs2sync.LightBlock, err error) {
	genesis, err := hs2sync.ReadGenesis(genesisFile)
	if err != nil {
		return 0, block, err
	}
	start, err := os.ReadFile(checkpoint)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, block, err
	}
	settings, err := hs2sync.DefaultLightSettings()
	if err != nil {
		return 0, block, err
	}
	settings.Witnesses = witnesses
	identity, err := quicnet.LoadIdentity(checkpoint + ".identity")
	if err != nil {
		return 0, block, err
	}
	network, err := quicnet.Listen("127.0.0.1:0", identity)
	if err != nil {
		return 0, block, err
	}
	for _, text := range peers {
		key, address, named := strings.Cut(text, "@")
		if !named {
			network.Keep(text, nil)
			continue
		}
		peer, err := hs2sync.ParseID(key)
		if err != nil {
			return 0, block, err
		}
		network.Keep(address, &peer)
	}
	client := &hs2sync.LightNode{
		LightStart: hs2sync.LightStart{Genesis: genesis, Checkpoint: start, Settings: &settings},
		Network:    network,
		OnKeep: func(keep hs2sync.Keep) {
			if err := os.WriteFile(checkpoint, keep.Checkpoint, 0o600); err != nil {
				log.Print(err)
			}
		},
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	// The demo's ledger keeps a balance of eight bytes under an `a` and the account's number.
	answer, err := client.Get(ctx, binary.BigEndian.AppendUint32([]byte{'a'}, account))
	stop()
	if over := <-ended; !errors.Is(over, context.Canceled) {
		// The reason is in there: a start that is too old, for example.
		return 0, block, errors.Join(err, over)
	}
	if err != nil {
		return 0, block, err
	}
	if len(answer.Value) != 8 {
		return 0, answer.Block, fmt.Errorf("account %d has no balance", account)
	}
	return binary.LittleEndian.Uint64(answer.Value), answer.Block, nil
}
