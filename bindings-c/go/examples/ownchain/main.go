// A chain of the host's own, written in Go and synchronized by hs2sync: other headers, another hash, another signature
// scheme. Its node catches up from two peers in this process, of which one lies.
package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log"
	"os"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go/pebblestore"
)

const cell = 1024

// network is the chain's validators and what they have decided: the store of a peer that answers requests.
type network struct {
	epoch    []byte
	ids      []hs2sync.ID
	segments []hs2sync.StoredSegment
	payloads [][]byte
	tip      []byte
}

// decide makes a chain of so many blocks.
func decide(blocks uint64) (*network, error) {
	n := &network{ids: []hs2sync.ID{{}}, payloads: [][]byte{nil}}
	var validators []*ecdsa.PrivateKey
	for range 4 {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, err
		}
		public, err := key.PublicKey.Bytes()
		if err != nil {
			return nil, err
		}
		validators, n.epoch = append(validators, key), append(n.epoch, public...)
	}
	var s segment
	for height := uint64(1); height <= blocks; height++ {
		payload := bytes.Repeat([]byte{byte(height)}, 100)
		block := header{parent: n.ids[height-1], height: height, timestampMs: 1_700_000_000_000 + height,
			payloadHash: sha256.Sum256(payload), payloadLen: uint32(len(payload))}
		n.ids, n.payloads, s.headers = append(n.ids, block.id()), append(n.payloads, payload), append(s.headers, block)
		if height%cell != cell-1 && height != blocks {
			continue
		}
		// Three of four sign the last block of the cell.
		id := block.id()
		for _, key := range validators[:3] {
			signature, err := ecdsa.SignASN1(rand.Reader, key, id[:])
			if err != nil {
				return nil, err
			}
			s.certificate = append(append(s.certificate, byte(len(signature))), signature...)
		}
		s.certificate = append(s.certificate, 0)
		n.segments = append(n.segments, hs2sync.StoredSegment{First: s.first().height, Last: height, Certified: true,
			Segment: s.encode()})
		n.tip, s = append(block.encode(), s.certificate...), segment{}
	}
	return n, nil
}

func (n *network) Status() (hs2sync.PeerStatus, error) {
	return hs2sync.PeerStatus{Earliest: 1, Tip: uint64(len(n.ids) - 1)}, nil
}
func (n *network) Handover(uint64) ([]byte, error) { return nil, nil }
func (n *network) Tip() ([]byte, error)            { return n.tip, nil }
func (n *network) Segment(height uint64) (*hs2sync.StoredSegment, error) {
	for i := range n.segments {
		if n.segments[i].First <= height && height <= n.segments[i].Last {
			return &n.segments[i], nil
		}
	}
	return nil, nil
}
func (n *network) Payload(height uint64) ([]byte, error) {
	if height >= uint64(len(n.payloads)) {
		return nil, nil
	}
	return n.payloads[height], nil
}

// peers are two ends of a network in this process: one is honest, one changes a byte of each proof.
type peers struct {
	*network
	rules  hs2sync.Rules
	banned chan hs2sync.ID
}

var honest, liar = hs2sync.ID{1}, hs2sync.ID{2}

func (p *peers) Serve(ctx context.Context, _ hs2sync.Handler, changes chan<- hs2sync.PeerChange) error {
	// The liar comes first, and the honest peer once it is found out.
	changes <- hs2sync.PeerChange{Peer: liar, Group: 2, Connected: true}
	select {
	case peer := <-p.banned:
		fmt.Printf("peer %s is banned\n", hex.EncodeToString(peer[:1]))
		changes <- hs2sync.PeerChange{Peer: honest, Group: 1, Connected: true}
	case <-ctx.Done():
	}
	<-ctx.Done()
	return ctx.Err()
}

func (p *peers) Ask(_ context.Context, peer hs2sync.ID, request []byte, most uint64) ([]byte, error) {
	answer, err := hs2sync.Respond(p.rules, p.network, request)
	if err == nil && uint64(len(answer)) > most {
		return nil, hs2sync.ErrOversize
	}
	if peer == liar && len(answer) > 150 {
		answer[120] ^= 1
	}
	return answer, err
}

func (p *peers) Ban(peer hs2sync.ID, _ time.Duration, _ string) { p.banned <- peer }
func (p *peers) Lift(hs2sync.ID)                                {}

func main() {
	folder, err := os.MkdirTemp("", "ownchain")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	head, err := catchUp(folder, 3000)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("caught up: block %d is %s\n", head.Height, head.ID)
}

// catchUp synchronizes a chain of so many blocks into a folder, and says where that ended.
func catchUp(folder string, blocks uint64) (*hs2sync.Stored, error) {
	n, err := decide(blocks)
	if err != nil {
		return nil, err
	}
	rules := hs2sync.Rules{Own: Chain{}, ChainID: sha256.Sum256(n.epoch)}
	store, err := pebblestore.Open(folder, rules)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	node := &hs2sync.Node{
		Rules: rules, Store: store, Until: blocks,
		Network: &peers{network: n, rules: rules, banned: make(chan hs2sync.ID, 2)},
		// Trusted from outside: the block below the first, and who decides.
		Anchor: &hs2sync.Anchor{First: 0, Last: hs2sync.Never, EncodedEpoch: n.epoch},
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := node.Run(ctx); err != nil {
		return nil, err
	}
	position, err := store.Position()
	if err != nil {
		return nil, err
	}
	if position.Stored == nil || position.Stored.ID != n.ids[blocks] {
		return nil, fmt.Errorf("ended at another block than the network: %+v", position.Stored)
	}
	return position.Stored, nil
}
