package hs2sync

import (
	"errors"
	"fmt"
)

// tableKind is one of the tables of functions that the library asks a host by.
type tableKind int

const (
	readerTable tableKind = iota
	chainTable
	stateTable
)

// Results of a host's function.
const (
	hostOK   = 0
	hostNone = 1
	// hostFailed: it could not do its part, and nobody is to blame.
	hostFailed = -1
)

// tables are what the library's functions ask while one call runs.
type tables struct {
	reader Reader
	chain  Chain
	states StateStore
	// used and held are what the call itself has put into memory: what lies behind is the last function's result.
	used uint64
	held int
	// failed is the first error of the host's own.
	failed error
}

// host has the library's functions ask these while a call runs, and gives the table's address.
func (f *frame) host(kind tableKind, reader Reader, chain Chain) uint64 {
	if f.tables == nil {
		f.tables = &tables{}
	}
	if reader != nil {
		f.tables.reader = reader
	}
	if chain != nil {
		f.tables.chain = chain
	}
	return f.tableOf(kind)
}

// hostStates is the same for a store of states.
func (f *frame) hostStates(states StateStore) uint64 {
	if f.tables == nil {
		f.tables = &tables{}
	}
	f.tables.states = states
	return f.tableOf(stateTable)
}

func (f *frame) tableOf(kind tableKind) uint64 {
	at := f.room(16 * f.word())
	f.table(kind, at)
	f.tables.used, f.tables.held = f.used, len(f.held)
	return at
}

// mark says that all arguments are in memory: what functions of the host put there lies behind.
func (f *frame) mark() {
	if f.tables != nil {
		f.tables.used, f.tables.held = f.used, len(f.held)
	}
}

// asked carries out a function of a table: its number, and where its arguments are. A panic of the host's is a failure.
func (f *frame) asked(number uint32, arguments uint64) (result int32) {
	defer func() {
		if why := recover(); why != nil {
			f.tables.failed = errors.Join(f.tables.failed, fmt.Errorf("hs2sync: a function of the host panicked: %v", why))
			result = hostFailed
		}
	}()
	f.rewind(f.tables.used, f.tables.held)
	var words [5]uint64
	r := f.read(arguments, 8*uint64(argumentCount[min(number, 17)]))
	for i := range argumentCount[min(number, 17)] {
		words[i] = r.u64()
	}
	err := f.answer(number, words)
	var fault Fault
	switch {
	case err == nil:
		return hostOK
	case errors.Is(err, errNone):
		return hostNone
	case errors.As(err, &fault) && fault > hostNone:
		return int32(fault)
	}
	if f.tables.failed == nil {
		f.tables.failed = err
	}
	return hostFailed
}

// errNone says that there is no such thing.
var errNone = errors.New("hs2sync: none")

var argumentCount = [18]int{0, 1, 2, 1, 2, 2, 1, 3, 3, 3, 5, 2, 3, 4, 2, 2, 3, 2}

func (f *frame) answer(number uint32, w [5]uint64) error {
	reader, chain, states := f.tables.reader, f.tables.chain, f.tables.states
	if number <= 5 && reader == nil || number > 5 && number <= 14 && chain == nil || number > 14 && states == nil {
		return errNone
	}
	switch number {
	case 1:
		status, err := reader.Status()
		if err != nil {
			return err
		}
		out := f.write(w[0], 24)
		out.setU64(status.Earliest)
		out.setU64(status.Tip)
		out.setU64(status.Epoch)
		return nil
	case 2:
		return f.reply(w[1])(reader.Handover(w[0]))
	case 3:
		return f.reply(w[0])(reader.Tip())
	case 4:
		return f.replySegment(w[1], w[0])
	case 5:
		return f.reply(w[1])(reader.Payload(w[0]))
	case 6:
		return chain.Epoch(f.copied(w[0]))
	case 7:
		return f.replyLink(w[2])(chain.Link(f.copied(w[0]), f.copied(w[1])))
	case 8:
		return f.replyLink(w[2])(chain.Handover(f.copied(w[0]), f.copied(w[1])))
	case 9:
		return f.replyTip(w[2])(chain.Tip(f.copied(w[0]), f.copied(w[1])))
	case 10:
		return f.replyFacts(w[4])(chain.Segment(f.copied(w[0]), f.claim(w[1]), f.copied(w[2]), f.copied(w[3])))
	case 11:
		return f.replyFacts(w[1])(chain.Stored(f.copied(w[0])))
	case 12:
		return chain.Payload(f.copied(w[0]), w[1], f.copied(w[2]))
	case 13:
		parts := make([][]byte, w[1])
		for i := range parts {
			parts[i] = f.copied(w[0] + uint64(i)*2*f.word())
		}
		return f.reply(w[3])(chain.Assemble(parts, f.claim(w[2])))
	case 14:
		return f.reply(w[1])(chain.TipOf(f.copied(w[0])))
	case 15:
		return f.reply(w[1])(states.Get(f.copied(w[0])))
	case 16:
		return f.replyEntry(w[2])(states.Next(f.copied(w[0]), f.copied(w[1])))
	case 17:
		return states.Write(f.written(w[0], w[1]))
	}
	return errNone
}

// reply writes bytes that a function gives; nil is none.
func (f *frame) reply(out uint64) func([]byte, error) error {
	return func(bytes []byte, err error) error {
		if err != nil {
			return err
		}
		if bytes == nil {
			return errNone
		}
		at, err := f.put(bytes)
		if err != nil {
			return err
		}
		f.setSlice(out, at, uint64(len(bytes)))
		return nil
	}
}

// replyEntry writes an entry of a store; a nil key is none.
func (f *frame) replyEntry(out uint64) func(key, value []byte, err error) error {
	return func(key, value []byte, err error) error {
		if err != nil {
			return err
		}
		if key == nil {
			return errNone
		}
		at, err := f.put(key)
		if err != nil {
			return err
		}
		f.setSlice(out, at, uint64(len(key)))
		if at, err = f.put(value); err != nil {
			return err
		}
		f.setSlice(out+2*f.word(), at, uint64(len(value)))
		return nil
	}
}

// written reads the changes that the library writes to a store.
func (f *frame) written(at, count uint64) []Change {
	changes := make([]Change, count)
	size := 4*f.word() + 8
	for i := range changes {
		from := at + uint64(i)*size
		changes[i] = Change{Key: f.copied(from), Value: f.copied(from + 2*f.word()), Deleted: f.u64(from+4*f.word()) != 0}
	}
	return changes
}

func (f *frame) replySegment(out, height uint64) error {
	segment, err := f.tables.reader.Segment(height)
	if err != nil {
		return err
	}
	if segment == nil {
		return errNone
	}
	bytes, err := f.put(segment.Segment)
	if err != nil {
		return err
	}
	audit, err := f.put(segment.Audit)
	if err != nil {
		return err
	}
	w := f.write(out, 32+4*f.word())
	w.setU64(segment.First)
	w.setU64(segment.Last)
	w.setU64(segment.Epoch)
	w.setU64(flag(segment.Certified))
	w.setAddress(bytes)
	w.setAddress(uint64(len(segment.Segment)))
	w.setAddress(audit)
	w.setAddress(uint64(len(segment.Audit)))
	return nil
}

func (f *frame) replyLink(out uint64) func(Link, error) error {
	return func(link Link, err error) error {
		if err != nil {
			return err
		}
		return f.setLink(out, link)
	}
}

func (f *frame) replyTip(out uint64) func(Tip, error) error {
	return func(tip Tip, err error) error {
		if err != nil && !errors.Is(err, ErrOtherEpoch) {
			return err
		}
		w := f.write(out, 56)
		w.setU64(tip.Height)
		w.setID(tip.ID)
		w.setU64(tip.Epoch)
		w.setU64(tip.TimestampMs)
		if err != nil {
			return errNone
		}
		return nil
	}
}

func (f *frame) replyFacts(out uint64) func(SegmentFacts, error) error {
	return func(facts SegmentFacts, err error) error {
		if err != nil {
			return err
		}
		size := 3*f.word() + 48
		if f.word() == 4 {
			size += 4
		}
		r := f.read(out, size)
		headers, capacity := r.address(), r.address()
		if len(facts.Headers) == 0 || uint64(len(facts.Headers)) > capacity {
			return errors.New("hs2sync: a segment has 1 to 1,024 headers")
		}
		for i, header := range facts.Headers {
			w := f.write(headers+uint64(i)*80, 80)
			w.setID(header.ID)
			w.setID(header.StateRoot)
			w.setU64(header.TimestampMs)
			w.setU32(header.PayloadLen)
		}
		w := f.write(out, size)
		w.setAddress(headers)
		w.setAddress(capacity)
		w.setAddress(uint64(len(facts.Headers)))
		w.setU64(facts.First)
		w.setID(facts.Parent)
		w.setU32(facts.QuorumChecks)
		return nil
	}
}

func (f *frame) claim(at uint64) Claim {
	r := f.read(at, 96)
	claim := Claim{First: r.u64(), Last: r.u64(), End: End(r.u32()), Audit: r.u32() != 0}
	known := r.u64() != 0
	parent := r.id()
	if known {
		claim.Parent = &parent
	}
	claim.Anchor = r.id()
	return claim
}

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}
