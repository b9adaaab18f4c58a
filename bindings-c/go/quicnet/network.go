// Package quicnet is the network of hotstuff2-sync over QUIC, the same as the Rust nodes have: TLS 1.3, both sides known by
// their Ed25519 keys, and one stream for each request. A node in Go talks to any node in Rust.
//
// Anyone may connect who proves a key; how many, how much and how long is bounded here, and who is served when is decided by
// [hs2sync.Server].
package quicnet

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/quic-go/quic-go"
)

// Bounds of the network.
const (
	// maxInbound is how many connections peers may open to this node.
	maxInbound = 256
	// maxInboundPerGroup is how many of them may come from one address prefix; from this machine any number.
	maxInboundPerGroup = 64
	// maxPerPeer is how many connections one peer may have: one for each direction, and one more for each that a restart
	// left behind.
	maxPerPeer = 4
	// maxStreams is how many requests one peer may have open on one connection.
	maxStreams = 32
	// maxRequestBytes is the longest request.
	maxRequestBytes = 8 << 10
	// maxBans is how many bans are remembered.
	maxBans = 65536
	// requestTime is how long a peer may take to send a request whole, answerTime to receive an answer whole.
	requestTime, answerTime = 10 * time.Second, time.Minute
	// connectTime is how long a dial and its handshake may take, idleTime after which silence a connection is dead.
	connectTime, idleTime = 10 * time.Second, 10 * time.Second
	// firstPause and lastPause are between two dials of one address: doubled each time.
	firstPause, lastPause = 250 * time.Millisecond, 15 * time.Second
)

// Codes of streams that are given up.
const (
	codeCancelled quic.StreamErrorCode = 1
	codeOversize  quic.StreamErrorCode = 2
	codeFailed    quic.StreamErrorCode = 5
)

// ErrNotConnected is returned where a peer has no connection.
var ErrNotConnected = errors.New("quicnet: not connected")

// Network is a QUIC endpoint that dials, accepts, asks and answers. It is an [hs2sync.Network].
type Network struct {
	identity  *Identity
	socket    *net.UDPConn
	transport *quic.Transport
	listener  *quic.Listener

	mutex   sync.Mutex
	peers   map[hs2sync.ID][]*quic.Conn
	bans    map[hs2sync.ID]time.Time
	inbound map[uint64]int
	total   int
	dials   []dial
	served  bool
	running *running
}

type dial struct {
	address  string
	expected *hs2sync.ID
}

// running is what one run of a node has.
type running struct {
	ctx     context.Context
	handler hs2sync.Handler
	changes chan<- hs2sync.PeerChange
	group   sync.WaitGroup
}

// Listen opens an endpoint at a UDP address; port 0 takes any free one.
func Listen(address string, identity *Identity) (*Network, error) {
	parsed, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		return nil, err
	}
	socket, err := net.ListenUDP("udp", parsed)
	if err != nil {
		return nil, err
	}
	n := &Network{
		identity: identity,
		socket:   socket,
		peers:    map[hs2sync.ID][]*quic.Conn{},
		bans:     map[hs2sync.ID]time.Time{},
		inbound:  map[uint64]int{},
	}
	// While room is scarce, a handshake is not begun for an address that may be forged.
	n.transport = &quic.Transport{Conn: socket, VerifySourceAddress: func(net.Addr) bool { return n.scarce() }}
	n.listener, err = n.transport.Listen(identity.config(nil), config())
	if err != nil {
		socket.Close()
		return nil, err
	}
	return n, nil
}

func config() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout:       connectTime / 2,
		MaxIdleTimeout:             idleTime,
		KeepAlivePeriod:            idleTime / 3,
		MaxIncomingStreams:         maxStreams,
		MaxIncomingUniStreams:      -1,
		MaxStreamReceiveWindow:     4 << 20,
		MaxConnectionReceiveWindow: 16 << 20,
	}
}

// Addr is where the endpoint listens.
func (n *Network) Addr() net.Addr { return n.socket.LocalAddr() }

// PeerID is the node's key.
func (n *Network) PeerID() hs2sync.ID { return n.identity.peer }

// Keep keeps a connection to the peer at an address: dialled as soon as the node runs, and again whenever it has ended. With
// an expected key anyone else there is turned away.
func (n *Network) Keep(address string, expected *hs2sync.ID) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	named := dial{address: address, expected: expected}
	if run := n.running; run != nil {
		run.group.Go(func() { n.keep(run, named) })
	} else {
		n.dials = append(n.dials, named)
	}
}

// Serve answers peers until ctx is done: see [hs2sync.Network].
func (n *Network) Serve(ctx context.Context, handler hs2sync.Handler, changes chan<- hs2sync.PeerChange) error {
	run := &running{ctx: ctx, handler: handler, changes: changes}
	n.mutex.Lock()
	if n.served {
		n.mutex.Unlock()
		return errors.New("quicnet: a network serves one node, once")
	}
	n.served, n.running = true, run
	for _, dial := range n.dials {
		run.group.Go(func() { n.keep(run, dial) })
	}
	n.mutex.Unlock()
	defer func() {
		n.mutex.Lock()
		n.running = nil
		n.mutex.Unlock()
		n.listener.Close()
		n.transport.Close()
		n.socket.Close()
		run.group.Wait()
	}()
	for {
		conn, err := n.listener.Accept(ctx)
		if err != nil {
			n.closeAll()
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
		group := groupOf(conn.RemoteAddr())
		if !n.enter(group, isHere(conn.RemoteAddr())) {
			_ = conn.CloseWithError(0, "no room")
			continue
		}
		run.group.Go(func() {
			defer n.leave(group)
			n.serve(run, conn)
		})
	}
}

func (n *Network) closeAll() {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	for _, conns := range n.peers {
		for _, conn := range conns {
			_ = conn.CloseWithError(0, "shutting down")
		}
	}
}

func (n *Network) scarce() bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return n.total > maxInbound/2
}

func (n *Network) enter(group uint64, here bool) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.total >= maxInbound || !here && n.inbound[group] >= maxInboundPerGroup {
		return false
	}
	n.total++
	n.inbound[group]++
	return true
}

func (n *Network) leave(group uint64) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	n.total--
	if n.inbound[group]--; n.inbound[group] <= 0 {
		delete(n.inbound, group)
	}
}

// keep dials an address again and again.
func (n *Network) keep(run *running, dial dial) {
	pause := firstPause
	for run.ctx.Err() == nil {
		if conn, err := n.connect(run.ctx, dial); err == nil {
			pause = firstPause
			n.serve(run, conn)
		}
		select {
		case <-run.ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, lastPause)
	}
}

func (n *Network) connect(ctx context.Context, dial dial) (*quic.Conn, error) {
	address, err := net.ResolveUDPAddr("udp", dial.address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	return n.transport.Dial(ctx, address, n.identity.config(dial.expected), config())
}

// serve has a connection until it ends.
func (n *Network) serve(run *running, conn *quic.Conn) {
	peer, err := peerOf(conn.ConnectionState().TLS)
	if err != nil {
		_ = conn.CloseWithError(0, "another protocol")
		return
	}
	group := groupOf(conn.RemoteAddr())
	if !n.add(run, peer, group, conn) {
		_ = conn.CloseWithError(0, "banned")
		return
	}
	var streams sync.WaitGroup
	for {
		stream, err := conn.AcceptStream(run.ctx)
		if err != nil {
			break
		}
		streams.Go(func() { answer(run, peer, group, stream) })
	}
	_ = conn.CloseWithError(0, "shutting down")
	streams.Wait()
	n.remove(run, peer, conn)
}

func (n *Network) add(run *running, peer hs2sync.ID, group uint64, conn *quic.Conn) bool {
	n.mutex.Lock()
	if until, ok := n.bans[peer]; ok {
		if time.Now().Before(until) {
			n.mutex.Unlock()
			return false
		}
		delete(n.bans, peer)
	}
	conns := n.peers[peer]
	if len(conns) >= maxPerPeer {
		_ = conns[0].CloseWithError(0, "too many connections")
	}
	n.peers[peer] = append(conns, conn)
	n.mutex.Unlock()
	if len(conns) == 0 {
		run.tell(hs2sync.PeerChange{Peer: peer, Group: group, Connected: true})
	}
	return true
}

func (n *Network) remove(run *running, peer hs2sync.ID, conn *quic.Conn) {
	n.mutex.Lock()
	conns := n.peers[peer]
	for at, one := range conns {
		if one == conn {
			conns = append(conns[:at:at], conns[at+1:]...)
			break
		}
	}
	n.peers[peer] = conns
	if len(conns) == 0 {
		delete(n.peers, peer)
	}
	n.mutex.Unlock()
	if len(conns) == 0 {
		run.tell(hs2sync.PeerChange{Peer: peer})
	}
}

func (r *running) tell(change hs2sync.PeerChange) {
	select {
	case r.changes <- change:
	case <-r.ctx.Done():
	}
}

// Ban ends a peer's connections and keeps it out: see [hs2sync.Network].
func (n *Network) Ban(peer hs2sync.ID, duration time.Duration, reason string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if len(n.bans) >= maxBans {
		n.forgetBan()
	}
	n.bans[peer] = time.Now().Add(duration)
	for _, conn := range n.peers[peer] {
		_ = conn.CloseWithError(0, reason)
	}
}

// forgetBan forgets the ban that ends first.
func (n *Network) forgetBan() {
	var first hs2sync.ID
	end := time.Time{}
	for peer, until := range n.bans {
		if end.IsZero() || until.Before(end) {
			first, end = peer, until
		}
	}
	delete(n.bans, first)
}

// Lift lets a banned peer come back.
func (n *Network) Lift(peer hs2sync.ID) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	delete(n.bans, peer)
}

var _ hs2sync.Network = (*Network)(nil)
