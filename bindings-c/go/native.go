package hs2sync

import "errors"

// Phase is a phase of voting of the native chain.
type Phase uint32

// Phases of votes.
const (
	// PhaseOne is a vote for a proposal.
	PhaseOne Phase = 1
	// PhaseTwo is a vote for a block whose certificate of phase one the voter has seen.
	PhaseTwo Phase = 2
)

// Proposal is the part of a header that its proposer chooses.
type Proposal struct {
	// View is above the parent's.
	View uint64
	// TimestampMs is when it is proposed, in milliseconds since 1970; not before the parent.
	TimestampMs uint64
	// Payload has at most 4 MiB.
	Payload []byte
	// StateRoot is the root of the state after executing the payload.
	StateRoot ID
	// NextEpoch is the epoch that begins above this block; nil unless this is its epoch's last one.
	NextEpoch *Epoch
	// Proposer is the proposer's place in the set, whose members are in ascending order of their keys.
	Proposer uint16
}

// HeaderInfo are the fields of a header.
type HeaderInfo struct {
	ID, ChainID, Parent, PayloadHash, StateRoot, EpochHash ID
	Height, View                                           uint64
	// JustifyView is the view of the certificate that justifies it: the parent's view.
	JustifyView, Epoch, TimestampMs uint64
	PayloadLen                      uint32
	Proposer                        uint16
	// EndsEpoch says that it is its epoch's last block.
	EndsEpoch bool
}

// Vote is a validator's signature on [VoteBytes].
type Vote struct {
	Key       ID
	Signature [64]byte
}

// Proof is why a block is final: a certificate over the last of the headers above it, or, in phase two, over the block itself
// where there are none.
type Proof struct {
	// Descendants are the headers above the block, each the child of the one before.
	Descendants [][]byte
	Certificate []byte
}

// Header is the header of the genesis block, encoded: the parent of the first block.
func (g *Genesis) Header() (header []byte, err error) {
	err = with(func(f *frame) error {
		handles, err := f.native(g)
		if err != nil {
			return err
		}
		header, err = f.bytes(fnGenesisHeader, handles.genesis)
		return err
	})
	return header, err
}

// NewHeader is the header of a proposal above a parent, encoded, as the epoch asks for. Nothing is signed.
func (e *Epoch) NewHeader(parent []byte, proposal Proposal) (header []byte, err error) {
	err = with(func(f *frame) error {
		epoch, err := f.epoch(e)
		if err != nil {
			return err
		}
		next := uint64(0)
		if proposal.NextEpoch != nil {
			if next, err = f.epoch(proposal.NextEpoch); err != nil {
				return err
			}
		}
		above, err := f.slice(parent)
		if err != nil {
			return err
		}
		payload, err := f.put(proposal.Payload)
		if err != nil {
			return err
		}
		at := f.room(96)
		w := f.write(at, 96)
		w.setU64(proposal.View)
		w.setU64(proposal.TimestampMs)
		w.setAddress(payload)
		w.setAddress(uint64(len(proposal.Payload)))
		w.setID(proposal.StateRoot)
		w.setU64(next)
		w.setU16(proposal.Proposer)
		header, err = f.bytes(fnHeaderNew, above, epoch, at)
		return err
	})
	return header, err
}

// CheckHeader checks a proposal as a voter must: that it follows its parent by the rules of the epoch. Execution,
// justification and lock are for the engine to check, and what a voter promises is in the documentation of the C interface.
func (e *Epoch) CheckHeader(parent, header []byte) error {
	return with(func(f *frame) error {
		epoch, err := f.epoch(e)
		if err != nil {
			return err
		}
		slices, err := f.slices(parent, header)
		if err != nil {
			return err
		}
		return f.do(fnHeaderCheck, slices[0], slices[1], epoch)
	})
}

// ClosingHeader is the closing header in a view above an epoch's last block or another closing header: empty, and there to
// carry the proof of that block.
func ClosingHeader(parent []byte, view uint64, proposer uint16) (header []byte, err error) {
	err = with(func(f *frame) error {
		above, err := f.slice(parent)
		if err != nil {
			return err
		}
		header, err = f.bytes(fnHeaderClosing, above, view, uint64(proposer))
		return err
	})
	return header, err
}

// ReadHeader reads a header. It is not checked.
func ReadHeader(header []byte) (info HeaderInfo, err error) {
	err = with(func(f *frame) error {
		slice, err := f.slice(header)
		if err != nil {
			return err
		}
		const size = 240
		out := f.room(size)
		if err := f.do(fnHeaderRead, slice, out); err != nil {
			return err
		}
		r := f.read(out, size)
		for _, id := range []*ID{&info.ID, &info.ChainID, &info.Parent, &info.PayloadHash, &info.StateRoot, &info.EpochHash} {
			*id = r.id()
		}
		for _, number := range []*uint64{&info.Height, &info.View, &info.JustifyView, &info.Epoch, &info.TimestampMs} {
			*number = r.u64()
		}
		info.PayloadLen, info.Proposer, info.EndsEpoch = r.u32(), r.u16(), r.u16() != 0
		return nil
	})
	return info, err
}

// signatures are votes as the library reads them.
func signatures(votes []Vote) []byte {
	all := make([]byte, 0, 96*len(votes))
	for _, vote := range votes {
		all = append(append(all, vote.Key[:]...), vote.Signature[:]...)
	}
	return all
}

// TimeoutBytes are the bytes that a validator signs to give up on a view of an epoch: it votes for nothing in that any more.
func TimeoutBytes(chainID ID, epoch, view uint64) (message []byte, err error) {
	err = with(func(f *frame) error {
		const size = 64
		out := f.room(size)
		if err := f.do(fnTimeoutBytes, f.id(chainID), epoch, view, out); err != nil {
			return err
		}
		message = append([]byte(nil), f.view(out, size)...)
		return nil
	})
	return message, err
}

// NewTimeout puts signatures of [TimeoutBytes] together to the certificate by which validators leave a view without a block.
// Neither signatures nor power are checked: [Epoch.CheckTimeout] does.
func (e *Epoch) NewTimeout(view uint64, votes []Vote) (certificate []byte, err error) {
	err = with(func(f *frame) error {
		epoch, err := f.epoch(e)
		if err != nil {
			return err
		}
		at, err := f.put(signatures(votes))
		if err != nil {
			return err
		}
		certificate, err = f.bytes(fnTimeoutNew, epoch, view, at, uint64(len(votes)))
		return err
	})
	return certificate, err
}

// CheckTimeout checks that validators with more than two thirds of the epoch's power gave up on a view, and says which.
func (e *Epoch) CheckTimeout(certificate []byte) (view uint64, err error) {
	err = with(func(f *frame) error {
		epoch, err := f.epoch(e)
		if err != nil {
			return err
		}
		slice, err := f.slice(certificate)
		if err != nil {
			return err
		}
		out := f.room(8)
		err = f.do(fnTimeoutCheck, slice, epoch, out)
		view = f.u64(out)
		return err
	})
	return view, err
}

// VoteBytes are the bytes that a validator signs with Ed25519 to vote for a header in a phase. What must be checked before,
// and written down so that it survives a crash, is in the chain's rules.
func VoteBytes(header []byte, phase Phase) (vote []byte, err error) {
	err = with(func(f *frame) error {
		slice, err := f.slice(header)
		if err != nil {
			return err
		}
		const size = 105
		out := f.room(size)
		if err := f.do(fnVoteBytes, slice, uint64(phase), out); err != nil {
			return err
		}
		vote = append([]byte(nil), f.view(out, size)...)
		return nil
	})
	return vote, err
}

// NewCertificate puts votes for a header together, encoded. Votes of keys outside of the set are left out; of two by one key
// the later counts. Neither signatures nor power are checked: [Epoch.CheckCertificate] does.
func (e *Epoch) NewCertificate(header []byte, phase Phase, votes []Vote) (certificate []byte, err error) {
	all := signatures(votes)
	err = with(func(f *frame) error {
		epoch, err := f.epoch(e)
		if err != nil {
			return err
		}
		slice, err := f.slice(header)
		if err != nil {
			return err
		}
		at, err := f.put(all)
		if err != nil {
			return err
		}
		certificate, err = f.bytes(fnCertificateNew, slice, uint64(phase), epoch, at, uint64(len(votes)))
		return err
	})
	return certificate, err
}

// CheckCertificate checks that validators with more than two thirds of the epoch's power signed for the header in that phase.
func (e *Epoch) CheckCertificate(certificate, header []byte, phase Phase) error {
	return with(func(f *frame) error {
		epoch, err := f.epoch(e)
		if err != nil {
			return err
		}
		slices, err := f.slices(certificate, header)
		if err != nil {
			return err
		}
		return f.do(fnCertificateCheck, slices[0], slices[1], uint64(phase), epoch)
	})
}

// NewSegment puts consecutive headers of one epoch, within one cell of 1,024 heights, together to the segment that proves
// them final: the proof is that of the last. Nothing else is checked.
func NewSegment(parent []byte, headers [][]byte, proof Proof) (segment []byte, err error) {
	if len(headers) == 0 || len(proof.Certificate) == 0 {
		return nil, errors.New("hs2sync: a segment has headers and a certificate")
	}
	err = with(func(f *frame) error {
		list, err := f.list(headers)
		if err != nil {
			return err
		}
		proven, err := f.proven(parent, proof)
		if err != nil {
			return err
		}
		segment, err = f.bytes(fnSegmentNew, proven[0], list, uint64(len(headers)), proven[1], proven[2], proven[3])
		return err
	})
	return segment, err
}

// NewTip is the message that proves a header final. Nothing is checked.
func NewTip(header []byte, proof Proof) (tip []byte, err error) {
	err = with(func(f *frame) error {
		proven, err := f.proven(header, proof)
		if err != nil {
			return err
		}
		tip, err = f.bytes(fnTipNew, proven[:]...)
		return err
	})
	return tip, err
}

// NewHandover is the handover from an epoch, whose last header this is, to the next one. Nothing is checked: [Epoch.Next]
// does.
func NewHandover(header []byte, proof Proof, next *Epoch) (handover []byte, err error) {
	err = with(func(f *frame) error {
		epoch, err := f.epoch(next)
		if err != nil {
			return err
		}
		proven, err := f.proven(header, proof)
		if err != nil {
			return err
		}
		handover, err = f.bytes(fnHandoverNew, append(proven[:], epoch)...)
		return err
	})
	return handover, err
}

// proven are the addresses of a header's bytes, of the headers above it and their number, and of the certificate, in the
// order in which the functions that take a proof want them.
func (f *frame) proven(header []byte, proof Proof) (at [4]uint64, err error) {
	both, err := f.slices(header, proof.Certificate)
	if err != nil {
		return at, err
	}
	above, err := f.list(proof.Descendants)
	return [4]uint64{both[0], above, uint64(len(proof.Descendants)), both[1]}, err
}

// slices are the addresses of two slices of bytes.
func (f *frame) slices(one, other []byte) (both [2]uint64, err error) {
	if both[0], err = f.slice(one); err != nil {
		return both, err
	}
	both[1], err = f.slice(other)
	return both, err
}
