package hs2sync

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Validator is a member of a validator set.
type Validator struct {
	// Key is its Ed25519 public key, and Power its voting power, not 0.
	Key   ID     `json:"key"`
	Power uint64 `json:"power"`
}

// Document are a chain's constants, in the form of the file genesis.json.
type Document struct {
	Version uint8 `json:"version"`
	// Name is for people, 1 to 64 bytes.
	Name string `json:"name"`
	// TimestampMs is when the chain begins, in milliseconds since 1970.
	TimestampMs uint64 `json:"timestamp"`
	// Validators are those of epoch 0, which decide up to LastHeight.
	Validators []Validator `json:"validators"`
	LastHeight uint64      `json:"last_height"`
	// StateRoot is the root of the state before the first block.
	StateRoot ID `json:"state_root"`
	// TrustingPeriodMs is for how long a validator set stays trustworthy; nil for ever.
	TrustingPeriodMs *uint64 `json:"trusting_period_ms"`
	// SnapshotInterval: states are offered at heights that are multiples of it.
	SnapshotInterval uint64 `json:"snapshot_interval"`
}

// MarshalText writes an id as hexadecimal digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 64 hexadecimal digits.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}

// NewGenesis makes and checks a genesis.
func NewGenesis(document Document) (*Genesis, error) {
	if document.Version != 1 {
		return nil, fmt.Errorf("hs2sync: a genesis document of version %d: this library reads version 1", document.Version)
	}
	period := uint64(0)
	if document.TrustingPeriodMs != nil {
		if period = *document.TrustingPeriodMs; period == 0 {
			return nil, errors.New("hs2sync: a trusting period of 0: leave it out where there is none")
		}
	}
	var encoded []byte
	err := with(func(f *frame) error {
		name, err := f.text(document.Name)
		if err != nil {
			return err
		}
		at, err := f.members(document.Validators)
		if err != nil {
			return err
		}
		handle, err := f.handle(fnGenesisNew, name, document.TimestampMs, at, uint64(len(document.Validators)),
			document.LastHeight, f.id(document.StateRoot), period, document.SnapshotInterval)
		if err != nil {
			return err
		}
		defer f.release(handle)
		encoded, err = f.bytes(fnGenesisEncode, handle)
		return err
	})
	if err != nil {
		return nil, err
	}
	return DecodeGenesis(encoded)
}

// parseGenesis reads genesis.json, or an encoded document.
func parseGenesis(bytes []byte) (*Genesis, error) {
	if len(bytes) == 0 || bytes[0] != '{' {
		return DecodeGenesis(bytes)
	}
	var file struct {
		ChainID  *ID      `json:"chain_id"`
		Document Document `json:"document"`
	}
	if err := json.Unmarshal(bytes, &file); err != nil {
		return nil, err
	}
	genesis, err := NewGenesis(file.Document)
	if err != nil {
		return nil, err
	}
	if file.ChainID != nil && *file.ChainID != genesis.ChainID {
		return nil, fmt.Errorf("hs2sync: the document is that of the chain %s, and names %s: it was changed", genesis.ChainID, *file.ChainID)
	}
	return genesis, nil
}
