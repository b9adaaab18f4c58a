package hs2sync

import (
	"fmt"
	"io"
	"os"
)

// maxGenesisBytes is more than the largest genesis document takes.
const maxGenesisBytes = 4 << 20

// Genesis is a checked genesis document. It is immutable.
type Genesis struct {
	encoded []byte
	// ChainID is the chain's id: the hash of the document.
	ChainID ID
	// BlockID is the genesis block's id, and StateRoot the root of the state before the first block.
	BlockID, StateRoot ID
	// TimestampMs is when the chain begins, in milliseconds since 1970.
	TimestampMs uint64
	// LastHeight is the last height of epoch 0.
	LastHeight uint64
	// TrustingPeriodMs is for how long a validator set stays trustworthy, in milliseconds; 0 for ever.
	TrustingPeriodMs uint64
	// SnapshotInterval: states are offered at heights that are multiples of it.
	SnapshotInterval uint64
}

// DecodeGenesis reads an encoded genesis document and checks it.
func DecodeGenesis(encoded []byte) (*Genesis, error) {
	if len(encoded) > maxGenesisBytes {
		return nil, fmt.Errorf("hs2sync: a genesis document of %d bytes: at most %d are", len(encoded), maxGenesisBytes)
	}
	genesis := &Genesis{encoded: append([]byte(nil), encoded...)}
	err := with(func(f *frame) error {
		slice, err := f.slice(encoded)
		if err != nil {
			return err
		}
		handle, err := f.handle(fnGenesisDecode, slice)
		if err != nil {
			return err
		}
		defer f.release(handle)
		out := f.room(128)
		if err := f.do(fnGenesisRead, handle, out); err != nil {
			return err
		}
		r := f.read(out, 128)
		genesis.ChainID, genesis.BlockID, genesis.StateRoot = r.id(), r.id(), r.id()
		genesis.TimestampMs, genesis.LastHeight = r.u64(), r.u64()
		genesis.TrustingPeriodMs, genesis.SnapshotInterval = r.u64(), r.u64()
		return nil
	})
	if err != nil {
		return nil, err
	}
	return genesis, nil
}

// ReadGenesis reads a genesis document from a file: genesis.json as `hs2-sync` has it, or an encoded document.
func ReadGenesis(path string) (*Genesis, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	encoded, err := io.ReadAll(io.LimitReader(file, maxGenesisBytes+1))
	if err != nil {
		return nil, err
	}
	genesis, err := parseGenesis(encoded)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return genesis, nil
}

// Bytes are the encoded document.
func (g *Genesis) Bytes() []byte { return append([]byte(nil), g.encoded...) }
