package hs2sync

import (
	"context"
	"errors"
	"time"
)

// ErrOversize is returned by [Network.Ask] where a peer sent more than it was asked for, which is its fault.
var ErrOversize = errors.New("hs2sync: the answer is longer than what was asked for")

// Handler answers a request of a peer. done is called once the answer was received or given up.
type Handler func(ctx context.Context, peer ID, group uint64, request []byte) (answer []byte, done func(), err error)

// PeerChange says that a peer came or went.
type PeerChange struct {
	Peer ID
	// Group is what the peer shares with others that may be one operator: an address prefix.
	Group uint64
	// Connected is false where it went.
	Connected bool
}

// Network carries requests and answers. Every byte must be proven to be the peer's: bans rest on that. Package quicnet is
// one.
type Network interface {
	// Serve has the handler answer peers, and tells of those who come and go until ctx is done. Called once.
	Serve(ctx context.Context, handler Handler, changes chan<- PeerChange) error
	// Ask asks a peer and reads at most so many bytes of the answer. It ends when ctx does.
	Ask(ctx context.Context, peer ID, request []byte, maxResponseBytes uint64) ([]byte, error)
	// Ban ends the connection to a peer and keeps it out for so long.
	Ban(peer ID, duration time.Duration, reason string)
	// Lift lets a banned peer come back.
	Lift(peer ID)
}

// Position is where a host's store stands.
type Position struct {
	// Stored is the highest block that is stored; nil where none is.
	Stored *Stored
	// Applied is the height that the application has executed durably.
	Applied uint64
	// Links are the stored handovers, in order.
	Links []Link
}

// Store keeps blocks durably: what a method has acknowledged survives a crash. Package pebblestore is one.
type Store interface {
	Reader
	// Position is where the store stands.
	Position() (Position, error)
	// StoreBlocks keeps the blocks of a call with their headers, and the tip that proves the last.
	StoreBlocks(call *Call) error
	// StoreHandovers keeps handovers.
	StoreHandovers(links []Link) error
	// SetApplied notes up to which height the application has executed durably.
	SetApplied(height uint64) error
	// Blocks gives stored blocks that the application is to execute again, in order.
	Blocks(first, last uint64, each func(Block) error) error
}
