package hs2sync

import (
	"errors"
	"fmt"
	"time"
)

// LightSettings are those of a light client: see [DefaultLightSettings].
type LightSettings struct {
	// OneByOne proves each epoch by the one before. Else epochs are skipped, which assumes that less than a third of a set turns
	// false within the trusting period.
	OneByOne bool
	// Witnesses is how many peers of other groups must prove the same block before it is told: 0 to 16.
	Witnesses uint32
	// MaxPeers is how many peers are asked at a time: 1 to 1,000, and more than Witnesses.
	MaxPeers uint32
	// SuspectSelfGroups is how many groups must give the same false kind of answer before the client suspects itself.
	SuspectSelfGroups uint32
	// PeerTimeout is the longest time of a request, QueryTimeout of a question, JobTimeout of a job.
	PeerTimeout, QueryTimeout, JobTimeout time.Duration
	// Freshness is the age from which on a tip is old.
	Freshness time.Duration
	// StatusInterval is how often each peer is asked for its status.
	StatusInterval time.Duration
	// StallAfter is the time without progress after which an event says why.
	StallAfter time.Duration
	// BanDuration is how long a peer that gave a false answer is left out.
	BanDuration time.Duration
}

// lightSettingsBytes is the size of the settings in memory.
const lightSettingsBytes = 72

// durations are those of the settings, in their order in memory.
func (s *LightSettings) durations() []*time.Duration {
	return []*time.Duration{&s.PeerTimeout, &s.QueryTimeout, &s.JobTimeout, &s.Freshness, &s.StatusInterval, &s.StallAfter,
		&s.BanDuration}
}

// DefaultLightSettings are the settings to begin with.
func DefaultLightSettings() (settings LightSettings, err error) {
	err = with(func(f *frame) error {
		out := f.room(lightSettingsBytes)
		if err := f.do(fnLightDefaults, out); err != nil {
			return err
		}
		r := f.read(out, lightSettingsBytes)
		settings.OneByOne = r.u32() != 0
		settings.Witnesses, settings.MaxPeers, settings.SuspectSelfGroups = r.u32(), r.u32(), r.u32()
		for _, to := range settings.durations() {
			*to = time.Duration(r.u64()) * time.Millisecond
		}
		return nil
	})
	return settings, err
}

// put writes the settings; of nil, nothing, which are the defaults.
func (s *LightSettings) put(f *frame) uint64 {
	if s == nil {
		return 0
	}
	at := f.room(lightSettingsBytes)
	w := f.write(at, lightSettingsBytes)
	w.setU32(uint32(flag(s.OneByOne)))
	w.setU32(s.Witnesses)
	w.setU32(s.MaxPeers)
	w.setU32(s.SuspectSelfGroups)
	for _, from := range s.durations() {
		w.setU64(millis(*from))
	}
	return at
}

// LightStart is what a light client begins with.
type LightStart struct {
	Genesis *Genesis
	// Checkpoint is that of an earlier visit ([Keep]), whose source is believed; nil trusts the genesis block.
	Checkpoint []byte
	// Settings are nil for the defaults.
	Settings *LightSettings
	// AcceptLongRange takes a start of any age, on a chain with a trusting period.
	AcceptLongRange bool
}

// LightBlock is a proven block, as far as a light client knows it.
type LightBlock struct {
	Height uint64
	// TimestampMs is when it was proposed, in milliseconds since 1970.
	TimestampMs uint64
	ID          ID
	// StateRoot is the root of the state after it.
	StateRoot ID
}

// LightAnswer answers a question, proven and confirmed.
type LightAnswer struct {
	// Block is the block asked for, or that after which the key has the value.
	Block LightBlock
	// Value is a key's value; nil where it has none, which is proven too.
	Value []byte
	// First is the height of the first of the Payloads.
	First    uint64
	Payloads [][]byte
}

// Answered closes a question of a light client. It is an [Output].
type Answered struct {
	Question uint64
	Answer   *LightAnswer
	// Err says why there is no answer: a [*LightError], or nil.
	Err error
}

// Keep brings a newer checkpoint to start the next visit from: to be kept in the place of the one before. It is an [Output].
type Keep struct {
	Height     uint64
	Checkpoint []byte
}

func (Answered) output() {}
func (Keep) output()     {}

// LightRefusal says why a question has no answer. errors.Is finds it in a [LightError].
type LightRefusal uint32

// Refusals of questions.
const (
	// LightKeyTooLong: no state has keys of this length.
	LightKeyTooLong LightRefusal = 0x1901
	// LightTooMany: as many questions are open as may be.
	LightTooMany LightRefusal = 0x1902
	// LightOutOfReach: the block lies above the tip, at or below the anchor, or in an epoch that is not known.
	LightOutOfReach LightRefusal = 0x1903
	// LightNotOneCell: the blocks lie in more than one cell of 1,024 heights, or epoch.
	LightNotOneCell LightRefusal = 0x1904
	// LightTooLarge: the payloads are larger together than one question may be.
	LightTooLarge LightRefusal = 0x1905
	// LightNoAnswer: no peer gave it in time.
	LightNoAnswer LightRefusal = 0x1906
	// LightUnconfirmed: too few peers of other groups confirmed the block in time.
	LightUnconfirmed LightRefusal = 0x1907
	// LightStopped: the client does not run.
	LightStopped LightRefusal = 0x1908
)

// Error makes a refusal an error.
func (r LightRefusal) Error() string { return fmt.Sprintf("hs2sync: no answer (%#04x)", uint32(r)) }

// LightError says why a question has no answer, with words for people.
type LightError struct {
	Refusal LightRefusal
	Text    string
}

func (e *LightError) Error() string { return "hs2sync: " + e.Text }

// Is reports whether target is the refusal.
func (e *LightError) Is(target error) bool {
	refusal, ok := target.(LightRefusal)
	return ok && refusal == e.Refusal
}

// At is which state a read means.
type At uint32

// States of reads.
const (
	// AtNow: the newest that peers have.
	AtNow At = 1
	// AtSnapshot: the newest snapshot that a peer says it serves.
	AtSnapshot At = 2
	// AtHeight: that after the block at a height, one of the chain's snapshot heights.
	AtHeight At = 3
)

// Freshness is how old a light client's tip is.
type Freshness uint32

// Ages of tips.
const (
	// Fresh: younger than the setting.
	Fresh Freshness = 1
	// Old: older than that.
	Old Freshness = 2
	// UnknownAge: there is no tip yet, or it is from the future by more than clocks differ.
	UnknownAge Freshness = 3
)

// LightPosition is where a light client stands.
type LightPosition struct {
	// Epoch is the newest trusted one, and Proven the highest height that anyone proved, confirmed or not.
	Epoch, Proven uint64
	// Tip is the highest block that was proven and confirmed; its zero value before there is one.
	Tip LightBlock
	// Witnesses is how many groups confirmed it, beside the one that showed it.
	Witnesses uint32
	// Freshness is the tip's age by the setting, and Age the age itself where it is [Old].
	Freshness Freshness
	Age       time.Duration
}

// Light is a light client of the native chain, without a network, a clock or a disk: the chain's proven tip, and values of its
// state, for whoever stores and executes no blocks. Facts go in and work comes out, as with a [Machine]: [Request],
// [CancelRequest], [Verify], [CancelJob], [Penalize], [Answered], [Keep], [Event], and last [Wait]. Methods may be called from
// any goroutine.
type Light struct {
	own        Machine
	checkpoint []byte
}

// NewLight makes a light client that is not started yet. The seed feeds its choices: random bytes.
func NewLight(start LightStart, seed uint64, now time.Duration, wall time.Time) (*Light, error) {
	if start.Genesis == nil {
		return nil, errors.New("hs2sync: a light client needs a genesis")
	}
	f, err := openFrame()
	if err != nil {
		return nil, err
	}
	light := &Light{checkpoint: append([]byte(nil), start.Checkpoint...)}
	light.own.f, light.own.rules = f, Rules{Genesis: start.Genesis}
	light.own.handle, err = f.newLight(start, seed, now, wall)
	if err != nil {
		f.shut()
		return nil, err
	}
	return light, nil
}

func (f *frame) newLight(start LightStart, seed uint64, now time.Duration, wall time.Time) (uint64, error) {
	handles, err := f.native(start.Genesis)
	if err != nil {
		return 0, err
	}
	checkpoint, err := f.slice(start.Checkpoint)
	if err != nil {
		return 0, err
	}
	return f.handle(fnLightNew, handles.genesis, checkpoint, start.Settings.put(f), seed, micros(now), wallMs(wall),
		flag(start.AcceptLongRange))
}

// lightChain is the chain that a light client's jobs are run with.
func (f *frame) lightChain(genesis *Genesis, checkpoint []byte) (uint64, error) {
	if genesis == nil {
		return 0, errors.New("hs2sync: a light client's job needs its genesis")
	}
	handles, err := f.native(genesis)
	if err != nil {
		return 0, err
	}
	slice, err := f.slice(checkpoint)
	if err != nil {
		return 0, err
	}
	return f.handle(fnLightChain, handles.genesis, slice)
}

func (l *Light) use(do func(f *frame, handle uint64) error) error {
	return l.own.use(func(f *frame) error { return do(f, l.own.handle) })
}

func (l *Light) tell(fn function, words ...uint64) error { return l.own.tell(fn, words...) }

// Start begins, or goes on after [Light.Stop].
func (l *Light) Start(now time.Duration) error { return l.tell(fnLightStart, micros(now)) }

// Stop cancels requests and jobs, and closes questions with [LightStopped]. What is proven stays.
func (l *Light) Stop(now time.Duration) error { return l.tell(fnLightStop, micros(now)) }

// Timeout says that time has passed.
func (l *Light) Timeout(now time.Duration) error { return l.tell(fnLightTimeout, micros(now)) }

// Wall says the time of day, where it was set or this computer has slept.
func (l *Light) Wall(now time.Duration, wall time.Time) error {
	return l.tell(fnLightWall, micros(now), wallMs(wall))
}

// Connected says that a connection to a peer stands. Witnesses are counted by group.
func (l *Light) Connected(now time.Duration, peer ID, group uint64) error {
	return l.use(func(f *frame, handle uint64) error {
		return f.do(fnLightConnected, handle, micros(now), f.id(peer), group)
	})
}

// Disconnected says that a peer has gone.
func (l *Light) Disconnected(now time.Duration, peer ID) error {
	return l.use(func(f *frame, handle uint64) error {
		return f.do(fnLightDisconnected, handle, micros(now), f.id(peer))
	})
}

// Response brings the answer to a request.
func (l *Light) Response(now time.Duration, request uint64, answer []byte) error {
	return l.use(func(f *frame, handle uint64) error {
		buffer, err := f.give(answer)
		if err != nil {
			return err
		}
		defer f.release(buffer)
		return f.do(fnLightResponse, handle, micros(now), request, buffer)
	})
}

// Failed says that a request won't be answered.
func (l *Light) Failed(now time.Duration, request uint64, failure RequestFailure) error {
	return l.tell(fnLightFailure, micros(now), request, uint64(failure))
}

// Verdict brings what a job found.
func (l *Light) Verdict(now time.Duration, verdict *Verdict) error {
	return l.use(func(f *frame, handle uint64) error {
		found, err := f.decoded(fnVerdictDecode, verdict.encoded)
		if err != nil {
			return err
		}
		defer f.release(found)
		return f.do(fnLightVerdict, handle, micros(now), found)
	})
}

// Get asks for the value of a key, at most 1,024 bytes; height is looked at with [AtHeight] alone. An [Answered] with the
// question's number closes it.
func (l *Light) Get(now time.Duration, key []byte, at At, height uint64) (question uint64, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		slice, err := f.slice(key)
		if err != nil {
			return err
		}
		question, err = f.handle(fnLightGet, handle, micros(now), slice, uint64(at), height)
		return err
	})
	return question, err
}

// Header asks for the block at a height.
func (l *Light) Header(now time.Duration, height uint64) (question uint64, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		question, err = f.handle(fnLightHeader, handle, micros(now), height)
		return err
	})
	return question, err
}

// Bodies asks for the payloads of the blocks from first to last, within one cell of 1,024 heights and one epoch.
func (l *Light) Bodies(now time.Duration, first, last uint64) (question uint64, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		question, err = f.handle(fnLightBodies, handle, micros(now), first, last)
		return err
	})
	return question, err
}

// Drop says that nobody waits for a question any more: it is not answered.
func (l *Light) Drop(now time.Duration, question uint64) error {
	return l.tell(fnLightDrop, micros(now), question)
}

// Poll takes out the next output. After each fact it is to be called until it gives a [Wait].
func (l *Light) Poll() (output Output, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		words, err := f.output(fnLightPoll, handle)
		if err != nil {
			return err
		}
		switch words.kind {
		case 0x1506:
			output, err = f.answered(words)
		case 0x1507:
			checkpoint, wrong := f.take(words.object)
			output, err = Keep{Height: words.height, Checkpoint: checkpoint}, wrong
		default:
			output, err = f.complete(words.plain(machineKinds[words.kind]), words.object)
		}
		if verify, ok := output.(Verify); ok {
			verify.Job.light, verify.Job.checkpoint = true, l.checkpoint
		}
		return err
	})
	return output, err
}

// machineKinds are the numbers of a machine's outputs for those of a light client that mean the same. Others are events.
var machineKinds = map[uint32]uint32{0x1501: 1, 0x1502: 2, 0x1503: 3, 0x1504: 4, 0x1505: 6, 0x1508: 7, 0x1509: 8}

// answered reads what closes a question.
func (f *frame) answered(words outputWords) (Output, error) {
	if words.code != 0 {
		text, err := f.take(words.object)
		return Answered{Question: words.id, Err: &LightError{Refusal: LightRefusal(words.code), Text: string(text)}}, err
	}
	defer f.release(words.object)
	size := 96 + 4*f.word() + 8
	out := f.room(size)
	if err := f.do(fnLightAnswerRead, words.object, out); err != nil {
		return nil, err
	}
	r := f.read(out, size)
	_, has := r.u32(), r.u32() != 0
	answer := &LightAnswer{Block: r.lightBlock()}
	at, length := r.slice()
	if has {
		answer.Value = append([]byte{}, f.view(at, length)...)
	}
	answer.First = r.u64()
	count := r.address()
	body := f.room(2 * f.word())
	for index := range count {
		if err := f.do(fnLightAnswerPayload, words.object, index, body); err != nil {
			return nil, err
		}
		answer.Payloads = append(answer.Payloads, append([]byte{}, f.copied(body)...))
	}
	return Answered{Question: words.id, Answer: answer}, nil
}

func (l *layout) lightBlock() LightBlock {
	return LightBlock{Height: l.u64(), TimestampMs: l.u64(), ID: l.id(), StateRoot: l.id()}
}

// Position is where the client stands.
func (l *Light) Position() (position LightPosition, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		const size = 112
		out := f.room(size)
		if err := f.do(fnLightRead, handle, out); err != nil {
			return err
		}
		r := f.read(out, size)
		position.Epoch, position.Proven, position.Tip = r.u64(), r.u64(), r.lightBlock()
		position.Witnesses, position.Freshness = r.u32(), Freshness(r.u32())
		position.Age = time.Duration(min(r.u64(), uint64(maxPeriod/time.Millisecond))) * time.Millisecond
		return nil
	})
	return position, err
}

// Checkpoint is what the next visit starts from; nil before a tip was proven and confirmed.
func (l *Light) Checkpoint() (checkpoint []byte, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		checkpoint, err = f.bytes(fnLightCheckpoint, handle)
		return err
	})
	if errors.Is(err, StatusNotFound) {
		return nil, nil
	}
	return checkpoint, err
}

// Evidence is the proof of two final blocks at one height, once the client has halted for that.
func (l *Light) Evidence() (evidence []byte, err error) {
	err = l.use(func(f *frame, handle uint64) error {
		evidence, err = f.bytes(fnLightEvidence, handle)
		return err
	})
	return evidence, err
}

// Close gives everything back. Later calls return [ErrClosed].
func (l *Light) Close() error { return l.own.Close() }
