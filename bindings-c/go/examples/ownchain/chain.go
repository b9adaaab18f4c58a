package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
)

// The chain: a header has 84 bytes, its id is their SHA-256, and blocks are proven final by validators that sign the id of
// the last with ECDSA over P-256. Ids cover the parent's, so that one certificate proves all blocks below. There is one
// epoch without an end.
const (
	headerBytes = 32 + 8 + 8 + 32 + 4
	keyBytes    = 65
	// maxHeaders is the most headers of a segment.
	maxHeaders = 1024
)

type header struct {
	parent      hs2sync.ID
	height      uint64
	timestampMs uint64
	payloadHash [32]byte
	payloadLen  uint32
}

func (h header) encode() []byte {
	out := append(make([]byte, 0, headerBytes), h.parent[:]...)
	out = binary.BigEndian.AppendUint64(out, h.height)
	out = binary.BigEndian.AppendUint64(out, h.timestampMs)
	out = append(out, h.payloadHash[:]...)
	return binary.BigEndian.AppendUint32(out, h.payloadLen)
}

func (h header) id() hs2sync.ID { return sha256.Sum256(h.encode()) }

func decodeHeader(b []byte) header {
	return header{
		parent:      hs2sync.ID(b[:32]),
		height:      binary.BigEndian.Uint64(b[32:]),
		timestampMs: binary.BigEndian.Uint64(b[40:]),
		payloadHash: [32]byte(b[48:80]),
		payloadLen:  binary.BigEndian.Uint32(b[80:]),
	}
}

// segment is headers in a row, and the certificate of the last; anchored where that is empty.
type segment struct {
	headers     []header
	certificate []byte
}

func (s segment) encode() []byte {
	out := binary.BigEndian.AppendUint16(nil, uint16(len(s.headers)))
	for _, header := range s.headers {
		out = append(out, header.encode()...)
	}
	return append(out, s.certificate...)
}

func decodeSegment(b []byte) (segment, error) {
	if len(b) < 2 {
		return segment{}, hs2sync.FaultMalformed
	}
	count := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if count == 0 || count > maxHeaders || len(b) < count*headerBytes {
		return segment{}, hs2sync.FaultMalformed
	}
	s := segment{headers: make([]header, count), certificate: b[count*headerBytes:]}
	for i := range s.headers {
		s.headers[i] = decodeHeader(b[i*headerBytes:])
	}
	return s, nil
}

func (s segment) first() header { return s.headers[0] }
func (s segment) last() header  { return s.headers[len(s.headers)-1] }

func (s segment) facts() hs2sync.SegmentFacts {
	facts := hs2sync.SegmentFacts{First: s.first().height, Parent: s.first().parent}
	for _, header := range s.headers {
		facts.Headers = append(facts.Headers,
			hs2sync.HeaderFacts{ID: header.id(), TimestampMs: header.timestampMs, PayloadLen: header.payloadLen})
	}
	return facts
}

// Chain is the chain as the library asks for it.
type Chain struct{}

// keys reads the validators of an epoch.
func keys(epoch []byte) ([]*ecdsa.PublicKey, error) {
	if len(epoch) == 0 || len(epoch)%keyBytes != 0 {
		return nil, hs2sync.FaultBadValidatorSet
	}
	var found []*ecdsa.PublicKey
	for b := epoch; len(b) > 0; b = b[keyBytes:] {
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), b[:keyBytes])
		if err != nil {
			return nil, hs2sync.FaultBadValidatorSet
		}
		found = append(found, key)
	}
	return found, nil
}

// certified checks that more than two thirds of the validators have signed an id: a certificate is, for each validator in
// turn, the length of its signature in one byte, 0 for none, and the signature.
func certified(epoch []byte, id hs2sync.ID, certificate []byte) error {
	validators, err := keys(epoch)
	if err != nil {
		return err
	}
	signers := 0
	for _, key := range validators {
		if len(certificate) == 0 || len(certificate) <= int(certificate[0]) {
			return hs2sync.FaultMalformed
		}
		signature := certificate[1 : 1+certificate[0]]
		certificate = certificate[1+certificate[0]:]
		if len(signature) == 0 {
			continue
		}
		if !ecdsa.VerifyASN1(key, id[:], signature) {
			return hs2sync.FaultBadCertificate
		}
		signers++
	}
	if len(certificate) != 0 {
		return hs2sync.FaultNonCanonical
	}
	if 3*signers <= 2*len(validators) {
		return hs2sync.FaultBadCertificate
	}
	return nil
}

// Epoch looks whether the validators can be read.
func (Chain) Epoch(epoch []byte) error {
	_, err := keys(epoch)
	return err
}

// Link refuses: there are no handovers.
func (Chain) Link(_, _ []byte) (hs2sync.Link, error) { return hs2sync.Link{}, hs2sync.FaultBadEpoch }

// Handover refuses: there are no handovers.
func (Chain) Handover(_, _ []byte) (hs2sync.Link, error) {
	return hs2sync.Link{}, hs2sync.FaultBadEpoch
}

// Tip proves a header and its certificate.
func (Chain) Tip(epoch, tip []byte) (hs2sync.Tip, error) {
	if len(tip) < headerBytes {
		return hs2sync.Tip{}, hs2sync.FaultMalformed
	}
	header := decodeHeader(tip)
	if err := certified(epoch, header.id(), tip[headerBytes:]); err != nil {
		return hs2sync.Tip{}, err
	}
	return hs2sync.Tip{Height: header.height, ID: header.id(), TimestampMs: header.timestampMs}, nil
}

// Segment proves headers: each is the parent of the next, and the last is certified or known.
func (Chain) Segment(epoch []byte, claim hs2sync.Claim, bytes, audit []byte) (hs2sync.SegmentFacts, error) {
	none := hs2sync.SegmentFacts{}
	s, err := decodeSegment(bytes)
	if err != nil {
		return none, err
	}
	switch last := s.last().height; {
	case claim.Audit || len(audit) > 0:
		return none, hs2sync.FaultMalformed
	case s.first().height != claim.First, last > claim.Last, last != claim.Last && claim.End != hs2sync.EndCertifiedUpTo:
		return none, hs2sync.FaultWrongRange
	case claim.Parent != nil && s.first().parent != *claim.Parent:
		return none, hs2sync.FaultWrongParent
	case claim.End == hs2sync.EndAnchored && s.last().id() != claim.Anchor:
		return none, hs2sync.FaultWrongAnchor
	}
	for i, header := range s.headers[1:] {
		before := s.headers[i]
		if header.height != before.height+1 || header.parent != before.id() || header.timestampMs < before.timestampMs {
			return none, hs2sync.FaultMalformed
		}
	}
	facts := s.facts()
	if claim.End == hs2sync.EndAnchored && len(s.certificate) == 0 {
		return facts, nil
	}
	facts.QuorumChecks = 1
	return facts, certified(epoch, s.last().id(), s.certificate)
}

// Stored decodes headers of the own store.
func (Chain) Stored(bytes []byte) (hs2sync.SegmentFacts, error) {
	s, err := decodeSegment(bytes)
	if err != nil {
		return hs2sync.SegmentFacts{}, err
	}
	return s.facts(), nil
}

// Payload proves a payload by its hash.
func (Chain) Payload(bytes []byte, height uint64, payload []byte) error {
	s, err := decodeSegment(bytes)
	if err != nil {
		return err
	}
	if height < s.first().height || height > s.last().height {
		return fmt.Errorf("block %d is not in the segment", height)
	}
	if sha256.Sum256(payload) != s.headers[height-s.first().height].payloadHash {
		return hs2sync.FaultBadPayload
	}
	return nil
}

// Assemble cuts headers out of stored segments.
func (Chain) Assemble(parts [][]byte, claim hs2sync.Claim) ([]byte, error) {
	var made segment
	for _, part := range parts {
		s, err := decodeSegment(part)
		if err != nil {
			return nil, errors.New("a stored segment is damaged")
		}
		for _, header := range s.headers {
			if header.height >= claim.First && header.height <= claim.Last {
				made.headers = append(made.headers, header)
			}
		}
		if s.last().height == claim.Last {
			made.certificate = s.certificate
		}
	}
	if len(made.headers) == 0 || claim.End != hs2sync.EndAnchored && len(made.certificate) == 0 {
		return nil, nil
	}
	return made.encode(), nil
}

// TipOf makes the tip of a segment with a certificate.
func (Chain) TipOf(b []byte) ([]byte, error) {
	s, err := decodeSegment(b)
	if err != nil || len(s.certificate) == 0 {
		return nil, nil
	}
	return bytes.Join([][]byte{s.last().encode(), s.certificate}, nil), nil
}

var _ hs2sync.Chain = Chain{}
