package hs2sync

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"time"
)

// GateSettings are what a [Gate] needs to know.
type GateSettings struct {
	// Own is this validator's key in the set, with its power; nil where it is none.
	Own *Validator
	// MaxBehind is how many proven blocks may be ahead of this node before it leaves consensus; 0 is 64.
	MaxBehind uint64
	// FreshTip is up to which age a proven tip shows by itself that nothing newer is withheld; 0 is ten seconds.
	FreshTip time.Duration
	// CertifiedViews says that the engines of all validators enter a view by a certificate of the one before alone, which is
	// promise 7 of the native chain's voters. Only then may [VotesLost] lead to a permit: the others show their certificates.
	CertifiedViews bool
}

// VoteRecord says what the host's record of its own votes has.
type VoteRecord uint32

// Records of votes.
const (
	// VotesNever: this key has never voted on this chain.
	VotesNever VoteRecord = 1
	// VotesLast: the highest view that it voted in or gave up on is known.
	VotesLast VoteRecord = 2
	// VotesLost: the record is gone, damaged or from a backup. There is no permit after that but with
	// [GateSettings.CertifiedViews].
	VotesLost VoteRecord = 3
)

// Order is what a gate says: a [GatePause], [GateResume], [GateAsk], or last [GateWait].
type Order interface{ order() }

// GatePause says to cast no vote any more and to make no proposal.
type GatePause struct{ Reason PauseReason }

// GateResume says to take part.
type GateResume struct{ Permit Permit }

// GateAsk says to ask every validator that can be reached for its word on this challenge, which it makes with [SignAdvert]:
// with the certificates that back it ([Word.High], [Word.EnteredBy]) where Certificates is set.
type GateAsk struct {
	Challenge    ID
	Certificates bool
}

// GateWait says that there is nothing to do now, and why there is no permit.
type GateWait struct{ Reason WaitReason }

func (GatePause) order()  {}
func (GateResume) order() {}
func (GateAsk) order()    {}
func (GateWait) order()   {}

// PauseReason is why a validator leaves consensus.
type PauseReason uint32

// Reasons of a pause.
const (
	// PauseBehind: too many proven blocks are ahead.
	PauseBehind PauseReason = 1
	// PauseAsked: the host asked for it.
	PauseAsked PauseReason = 2
	// PauseVotesLost: the record of votes is lost.
	PauseVotesLost PauseReason = 3
	// PauseForked: another block is proven at the head's height.
	PauseForked PauseReason = 4
	// PauseEpochEnded: the epoch is over for which the others knew of this validator's votes.
	PauseEpochEnded PauseReason = 5
	// PauseNoValidator: this node is no validator any more.
	PauseNoValidator PauseReason = 6
)

// WaitReason is why there is no permit; 0 where there is one.
type WaitReason uint32

// Reasons to wait.
const (
	// WaitApplying: proven blocks are not applied yet.
	WaitApplying WaitReason = 1
	// WaitNotKnown: nothing shows that the tip is the network's.
	WaitNotKnown WaitReason = 2
	// WaitVotesLost: the record of votes is lost.
	WaitVotesLost WaitReason = 3
	// WaitNoVotes: the host has not brought the record of votes: [Gate.Votes].
	WaitNoVotes WaitReason = 4
	// WaitRestoring: the others have not shown yet how far this validator can have voted.
	WaitRestoring WaitReason = 5
	// WaitKeyElsewhere: this validator's key signs elsewhere.
	WaitKeyElsewhere WaitReason = 6
	// WaitForked: another block is proven at the head's height.
	WaitForked WaitReason = 7
	// WaitNoValidator: this node is in no place of the set that is in force. It follows until it is.
	WaitNoValidator WaitReason = 8
)

// Permit is leave to take part in consensus, and what to begin with.
type Permit struct {
	// Height and ID are the final block that is executed.
	Height uint64
	ID     ID
	// VoteAbove: votes and proposals may be made in views above this one only.
	VoteAbove uint64
	// Headers are certified above that block, in order, and Certificate is that of the last of them, or of the block where
	// there are none: the high certificate and the lock that consensus begins with. Nil where nothing was shown.
	Headers     [][]byte
	Certificate []byte
	// Lock is the certificate that a validator without its record is locked on, and LockView its view, whether or not the block
	// is there: it is written down with VoteAbove before anything is signed. Nil where votes were not restored.
	Lock     []byte
	LockView uint64
}

// Gate says when a validator of the native chain may take part in consensus, and with what. After each call [Gate.Poll] is to
// be called until it gives a [GateWait]. Times are the host's time of day. Methods may be called from any goroutine.
type Gate struct {
	machine *Machine
	handle  uint64
}

// NewGate makes a gate that is closed, beside this machine.
func (m *Machine) NewGate(settings GateSettings) (*Gate, error) {
	if m.rules.Genesis == nil {
		return nil, errors.New("hs2sync: a gate needs the native chain: a chain of the host's own has its own words")
	}
	var seed ID
	// Challenges follow from it: nobody may know them before.
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, err
	}
	gate := &Gate{machine: m}
	err := m.use(func(f *frame) (err error) {
		own, power := uint64(0), uint64(0)
		if settings.Own != nil {
			own, power = f.id(settings.Own.Key), settings.Own.Power
		}
		fn := fnGateNew
		if settings.CertifiedViews {
			fn = fnGateNewCertified
		}
		gate.handle, err = f.handle(fn, own, power, f.id(seed), settings.MaxBehind, millis(settings.FreshTip))
		return err
	})
	if err != nil {
		return nil, err
	}
	return gate, nil
}

func millis(duration time.Duration) uint64 { return uint64(max(duration, 0) / time.Millisecond) }

func wallMs(wall time.Time) uint64 { return uint64(max(wall.UnixMilli(), 0)) }

func (g *Gate) tell(fn function, words ...uint64) error {
	return g.machine.tellAbout(g.handle, fn, words...)
}

// Votes brings the host's record of its own votes, read back from its disk; again before every return to consensus. view is
// the highest that it voted in or gave up on, with [VotesLast].
func (g *Gate) Votes(record VoteRecord, view uint64) error {
	return g.tell(fnGateVotes, uint64(record), view)
}

// Validator says who this node is in the set that is in force, nil where it is in none: that withdraws the permit until an
// epoch comes that has it. To be called whenever an epoch ends, before [Gate.Sync].
func (g *Gate) Validator(own *Validator) error {
	return g.machine.use(func(f *frame) error {
		key, power := uint64(0), uint64(0)
		if own != nil {
			key, power = f.id(own.Key), own.Power
		}
		return f.do(fnGateValidator, g.handle, key, power)
	})
}

// Sync has the gate look where the machine stands: to be called after each time that the machine was polled until it waits.
func (g *Gate) Sync(wall time.Time) error {
	return g.machine.use(func(f *frame) error {
		handles, err := f.native(g.machine.rules.Genesis)
		if err != nil {
			return err
		}
		return f.do(fnGateSync, g.handle, wallMs(wall), g.machine.handle, handles.chain)
	})
}

// Advert brings a validator's signed word, which is checked under the epoch that is in force.
func (g *Gate) Advert(wall time.Time, epoch *Epoch, advert []byte) error {
	return g.machine.use(func(f *frame) error {
		handle, err := f.epoch(epoch)
		if err != nil {
			return err
		}
		slice, err := f.slice(advert)
		if err != nil {
			return err
		}
		return f.do(fnGateAdvert, g.handle, wallMs(wall), handle, slice)
	})
}

// Time says that time has passed.
func (g *Gate) Time(wall time.Time) error { return g.tell(fnGateTime, wallMs(wall)) }

// Behind says that consensus has verified that the network stands at a height or above, and misses what leads there: the
// permit is withdrawn where that is too far.
func (g *Gate) Behind(height uint64) error { return g.tell(fnGateBehind, height) }

// Poll takes out the next order.
func (g *Gate) Poll() (order Order, err error) {
	err = g.machine.use(func(f *frame) error {
		const size = 64
		out := f.room(size)
		if err := f.do(fnGatePoll, g.handle, out); err != nil {
			return err
		}
		r := f.read(out, size)
		kind, reason, object, height, above, id := r.u32(), r.u32(), r.u64(), r.u64(), r.u64(), r.id()
		switch kind {
		case 1:
			order = GatePause{Reason: PauseReason(reason)}
		case 2:
			defer f.release(object)
			permit := Permit{Height: height, ID: id, VoteAbove: above}
			order, err = f.permit(object, permit)
			return err
		case 3:
			order = GateAsk{Challenge: id, Certificates: reason != 0}
		default:
			order = GateWait{Reason: WaitReason(reason)}
		}
		return nil
	})
	return order, err
}

// permit completes a permit with what was shown above its block.
func (f *frame) permit(handle uint64, permit Permit) (Order, error) {
	out := f.room(2 * f.word())
	for index := uint64(0); ; index++ {
		err := f.do(fnPermitHeader, handle, index, out)
		if errors.Is(err, StatusNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		permit.Headers = append(permit.Headers, f.copied(out))
	}
	switch err := f.do(fnPermitCertificate, handle, out); {
	case err == nil:
		permit.Certificate = f.copied(out)
	case !errors.Is(err, StatusNotFound):
		return nil, err
	}
	view := f.room(8)
	switch err := f.do(fnPermitLock, handle, view, out); {
	case err == nil:
		permit.Lock, permit.LockView = f.copied(out), f.u64(view)
	case !errors.Is(err, StatusNotFound):
		return nil, err
	}
	return GateResume{Permit: permit}, nil
}

// Close gives the gate back. It is to be called before the machine is closed.
func (g *Gate) Close() error {
	return g.machine.use(func(f *frame) error {
		f.release(g.handle)
		return nil
	})
}

// Word is a validator's word on where it stands.
type Word struct {
	// Epoch is the one that it is in, Height and Block its highest final block.
	Epoch, Height uint64
	Block         ID
	// View is the one that it is in by a record that survives a crash.
	View uint64
	// Challenge is that of whoever asked.
	Challenge ID
	// High is the highest certificate of phase one that it has seen in the epoch, which its lock is on, and EnteredBy that by
	// which it entered its view where High is not the one ([Epoch.NewTimeout]): for a [GateAsk] that wants certificates.
	High, EnteredBy []byte
}

// SignAdvert signs this validator's word on where it stands, for a peer's gate.
func SignAdvert(key ed25519.PrivateKey, chainID ID, word Word, wall time.Time) (advert []byte, err error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("hs2sync: an Ed25519 key of %d bytes: %d are", len(key), ed25519.PrivateKeySize)
	}
	err = with(func(f *frame) error {
		secret := f.id(ID(key.Seed()))
		// The place of the arguments is used again: the secret is not left there.
		defer func() { clear(f.view(secret, 32)) }()
		words := []uint64{secret, f.id(chainID), word.Epoch, word.Height, f.id(word.Block), word.View, wallMs(wall),
			f.id(word.Challenge)}
		if len(word.High) == 0 && len(word.EnteredBy) == 0 {
			advert, err = f.bytes(fnAdvertSign, words...)
			return err
		}
		high, err := f.slice(word.High)
		if err != nil {
			return err
		}
		enteredBy, err := f.slice(word.EnteredBy)
		if err != nil {
			return err
		}
		advert, err = f.bytes(fnAdvertSignBacked, append(words, high, enteredBy)...)
		return err
	})
	return advert, err
}
