package quicnet

import (
	"context"
	"io"
	"net"
	"time"

	hs2sync "github.com/hotstuff2-sync/hotstuff2-sync/bindings-c/go"
	"github.com/quic-go/quic-go"
)

// answer answers one request.
func answer(run *running, peer hs2sync.ID, group uint64, stream *quic.Stream) {
	giveUp := func(code quic.StreamErrorCode) {
		stream.CancelRead(code)
		stream.CancelWrite(code)
	}
	_ = stream.SetReadDeadline(time.Now().Add(requestTime))
	request, err := io.ReadAll(io.LimitReader(stream, maxRequestBytes+1))
	if err != nil || len(request) > maxRequestBytes {
		giveUp(codeOversize)
		return
	}
	// Over where the peer stops the stream.
	ctx, cancel := context.WithTimeout(stream.Context(), answerTime)
	defer cancel()
	bytes, done, err := run.handler(ctx, peer, group, request)
	if err != nil {
		giveUp(codeFailed)
		return
	}
	defer done()
	_ = stream.SetWriteDeadline(time.Now().Add(answerTime))
	if _, err := stream.Write(bytes); err != nil {
		giveUp(codeFailed)
		return
	}
	_ = stream.Close()
}

// Ask asks a peer: see [hs2sync.Network].
func (n *Network) Ask(ctx context.Context, peer hs2sync.ID, request []byte, most uint64) ([]byte, error) {
	n.mutex.Lock()
	conns := append([]*quic.Conn(nil), n.peers[peer]...)
	n.mutex.Unlock()
	err := error(ErrNotConnected)
	for _, conn := range conns {
		var bytes []byte
		bytes, err = ask(ctx, conn, request, most)
		// Questions change nothing, so one whose connection ends is asked over another one.
		if err == nil || conn.Context().Err() == nil || ctx.Err() != nil {
			return bytes, err
		}
	}
	return nil, err
}

func ask(ctx context.Context, conn *quic.Conn, request []byte, most uint64) ([]byte, error) {
	stream, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return nil, err
	}
	giveUp := func(code quic.StreamErrorCode) {
		stream.CancelRead(code)
		stream.CancelWrite(code)
	}
	stop := context.AfterFunc(ctx, func() { giveUp(codeCancelled) })
	defer stop()
	if _, err := stream.Write(request); err != nil {
		return nil, err
	}
	_ = stream.Close()
	answer, err := io.ReadAll(io.LimitReader(stream, int64(min(most, 1<<40))+1))
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, err
	case uint64(len(answer)) > most:
		giveUp(codeOversize)
		return nil, hs2sync.ErrOversize
	}
	return answer, nil
}

func isHere(address net.Addr) bool {
	udp, ok := address.(*net.UDPAddr)
	return ok && udp.IP.IsLoopback()
}

// groupOf is what peers share that may be one operator: the /16 of an IPv4 address, the /32 of an IPv6 address.
func groupOf(address net.Addr) uint64 {
	udp, ok := address.(*net.UDPAddr)
	if !ok {
		return 0
	}
	if ip := udp.IP.To4(); ip != nil {
		return uint64(ip[0])<<8 | uint64(ip[1])
	}
	if ip := udp.IP.To16(); ip != nil {
		return 1<<32 | uint64(ip[0])<<24 | uint64(ip[1])<<16 | uint64(ip[2])<<8 | uint64(ip[3])
	}
	return 0
}
