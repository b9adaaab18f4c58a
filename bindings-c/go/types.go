package hs2sync

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// Never is a time or a height that never comes.
const Never = ^uint64(0)

// ID is 32 bytes that name something: a block, a chain, a state root, or the Ed25519 public key of a peer or a validator.
type ID [32]byte

// String writes an id as hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// ParseID reads 64 hexadecimal digits.
func ParseID(text string) (id ID, err error) {
	bytes, err := hex.DecodeString(text)
	if err != nil || len(bytes) != len(id) {
		return id, fmt.Errorf("hs2sync: %q is no id: 64 hexadecimal digits are", text)
	}
	return ID(bytes), nil
}

// PeerStatus says which blocks a serving node holds.
type PeerStatus struct {
	// Earliest is the lowest height whose header and payload are there.
	Earliest uint64
	// Tip is the highest height that is final here.
	Tip uint64
	// Epoch is the epoch of that block.
	Epoch uint64
}

// StoredSegment is a segment of headers as a host stores it.
type StoredSegment struct {
	// First and Last are the heights that it holds.
	First, Last uint64
	// Epoch is the epoch of all of them.
	Epoch uint64
	// Certified says that it proves its last block final by itself.
	Certified bool
	// Segment is the segment as it came.
	Segment []byte
	// Audit holds the certificates of the single blocks, if they came with it.
	Audit []byte
}

// Link is a proven handover from one epoch to the next, as a host stores it and gives it back at the next start.
type Link struct {
	// Ended is the epoch that ended, Boundary its last height, and BoundaryID the block there.
	Ended, Boundary uint64
	BoundaryID      ID
	// Epoch is the one that begins, with the heights from First to Last.
	Epoch, First, Last uint64
	// BoundaryTimeMs is the time in the header of the block at Boundary, in milliseconds since 1970; 0 where there is none.
	BoundaryTimeMs uint64
	// EncodedEpoch is the epoch that begins, as the chain encodes it.
	EncodedEpoch []byte
	// Handover is the handover as it came, to store and serve.
	Handover []byte
}

// Tip is a block that was proven final.
type Tip struct {
	Height uint64
	ID     ID
	Epoch  uint64
	// TimestampMs is when it was proposed, in milliseconds since 1970; 0 for a chain without time.
	TimestampMs uint64
}

// Reader is a host's store as the library reads it to answer peers. Nil bytes say that there is no such thing. Calls come
// from any goroutine.
type Reader interface {
	// Status says which blocks are there.
	Status() (PeerStatus, error)
	// Handover is the handover that ends an epoch.
	Handover(epoch uint64) ([]byte, error)
	// Tip is the newest proof of finality.
	Tip() ([]byte, error)
	// Segment is the stored segment that holds the header at a height.
	Segment(height uint64) (*StoredSegment, error)
	// Payload is the payload of the block at a height; empty and not nil where it is empty.
	Payload(height uint64) ([]byte, error)
}

// End is how the last header of a segment is known to be final.
type End uint32

// Ends of segments.
const (
	// EndCertified: it ends where asked, and proves its last block final.
	EndCertified End = 1
	// EndCertifiedUpTo: it ends at or below the height asked for, and proves its last block final.
	EndCertifiedUpTo End = 2
	// EndAnchored: it ends with a block that was proven before.
	EndAnchored End = 3
)

// Claim is what a segment must be.
type Claim struct {
	First, Last uint64
	End         End
	// Audit says that every block comes with a certificate of its own.
	Audit bool
	// Parent is the id that the parent of the first header must have, where it is known.
	Parent *ID
	// Anchor is the id of the last block, with EndAnchored.
	Anchor ID
}

// HeaderFacts is what a chain says of a header.
type HeaderFacts struct {
	ID        ID
	StateRoot ID
	// TimestampMs is in milliseconds since 1970; 0 for a chain without time.
	TimestampMs uint64
	// PayloadLen is the payload's length in bytes, at most 4 MiB.
	PayloadLen uint32
}

// SegmentFacts is what a chain says of a segment.
type SegmentFacts struct {
	// First is the height of the first header.
	First uint64
	// Parent is the id of the block below it.
	Parent ID
	// QuorumChecks is how many certificates were checked.
	QuorumChecks uint32
	// Headers are the headers in order: 1 to 1,024.
	Headers []HeaderFacts
}

// ErrOtherEpoch is returned by [Chain.Tip] for a block of another epoch, whose number is in the result: nothing was
// proven, and nobody is to blame.
var ErrOtherEpoch = errors.New("hs2sync: the tip belongs to another epoch")

// Chain is a chain of the host's own: its blocks, certificates and validator sets. What its methods are shown comes from
// peers that nobody trusts, unless they say otherwise. A [Fault] says that the bytes are provably false, and whoever gave
// them is banned; any other error, that it could not be checked here: nobody is blamed, and the same is checked again after
// a pause. Methods must bound their work by the length of their input, depend on their arguments alone, and may be called
// from any number of goroutines.
type Chain interface {
	// Epoch looks whether a validator set, named by a verified handover or trusted, can be read.
	Epoch(epoch []byte) error
	// Link reads which epoch a handover begins, and checks by hashes and numbers alone that it ends epoch.
	Link(epoch, handover []byte) (Link, error)
	// Handover proves that epoch ended as handover says, signatures and all.
	Handover(epoch, handover []byte) (Link, error)
	// Tip proves that the block in tip is final, if it belongs to epoch.
	Tip(epoch, tip []byte) (Tip, error)
	// Segment proves that a segment is the final headers that claim asks for.
	Segment(epoch []byte, claim Claim, segment, audit []byte) (SegmentFacts, error)
	// Stored decodes a segment that was verified before and comes from the host's own store.
	Stored(segment []byte) (SegmentFacts, error)
	// Payload proves that payload is the one that the header at a height of a verified segment names.
	Payload(segment []byte, height uint64, payload []byte) error
	// Assemble cuts or joins verified segments to the one that claim asks for; nil where they don't prove its end.
	Assemble(parts [][]byte, claim Claim) ([]byte, error)
	// TipOf makes the tip message of a certified segment's end; nil for an anchored one.
	TipOf(segment []byte) ([]byte, error)
}

// Rules are the chain that is synchronized: the native one of a genesis document, or one of the host's own.
type Rules struct {
	// Genesis is the native chain's; nil for a chain of the host's own.
	Genesis *Genesis
	// Own is the host's chain, with the id that all its nodes have.
	Own     Chain
	ChainID ID
}

// ID is the chain's id.
func (r Rules) ID() ID {
	if r.Genesis != nil {
		return r.Genesis.ChainID
	}
	return r.ChainID
}

// pick has a frame work with the rules: the function for the native chain or for one of the host's own, and the word that
// names the chain.
func (f *frame) pick(rules Rules, native, own function) (function, uint64, error) {
	switch {
	case rules.Own != nil:
		return own, f.host(chainTable, nil, rules.Own), nil
	case rules.Genesis == nil:
		return 0, 0, errors.New("hs2sync: Rules have neither a genesis document nor a chain")
	}
	handles, err := f.native(rules.Genesis)
	return native, handles.chain, err
}

// native are the handles of a chain in one instance.
type native struct{ genesis, chain uint64 }

func (f *frame) native(genesis *Genesis) (native, error) {
	if handles, ok := f.natives[genesis]; ok {
		return handles, nil
	}
	if len(f.natives) >= 8 {
		f.forgetNatives()
	}
	encoded, err := f.slice(genesis.encoded)
	if err != nil {
		return native{}, err
	}
	var handles native
	if handles.genesis, err = f.handle(fnGenesisDecode, encoded); err != nil {
		return native{}, err
	}
	if handles.chain, err = f.handle(fnChainNew, handles.genesis); err != nil {
		f.release(handles.genesis)
		return native{}, err
	}
	if f.natives == nil {
		f.natives = map[*Genesis]native{}
	}
	f.natives[genesis] = handles
	return handles, nil
}

func (f *frame) forgetNatives() {
	f.forgetEpochs()
	for key, handles := range f.natives {
		f.release(handles.chain)
		f.release(handles.genesis)
		delete(f.natives, key)
	}
}
