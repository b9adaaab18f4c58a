package hs2sync

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"
)

// Server answers peers from a store: it decides who is served now, who waits and who is told to come back later, so that no
// peer takes more than its share of memory and CPU time.
type Server struct {
	rules  Rules
	reader Reader
	// views are set where the store keeps states.
	views func() (StateView, error)
	// slots are taken by requests that are being answered.
	slots chan struct{}
	begun time.Time

	mutex     sync.Mutex
	f         *frame
	admission uint64
	waiting   map[uint64]chan verdict
	timer     *time.Timer
	closed    bool
}

// verdict is what admission says of a ticket: serve it, or tell the peer to come back after so many milliseconds.
type verdict struct {
	serve        bool
	retryAfterMs uint32
}

// turn is the next word of admission.
type turn struct {
	kind, retryAfterMs uint32
	ticket, deadlineUs uint64
}

// NewServer makes a server that spends about so much CPU time a second on peers; 0 is half a core.
func NewServer(rules Rules, reader Reader, work time.Duration) (*Server, error) {
	f, err := openFrame()
	if err != nil {
		return nil, err
	}
	s := &Server{rules: rules, reader: reader, begun: time.Now(), f: f, waiting: map[uint64]chan verdict{}}
	s.slots = make(chan struct{}, runtime.GOMAXPROCS(0))
	if s.admission, err = f.handle(fnAdmissionNew, micros(work)); err != nil {
		f.shut()
		return nil, err
	}
	s.timer = time.AfterFunc(time.Hour, s.tick)
	return s, nil
}

func (s *Server) now() uint64 { return micros(time.Since(s.begun)) }

// Answer answers a request of a peer, in bounded time: waiting for its turn takes no longer than ctx lasts. group is what the
// peer shares with others that may be one operator. An error says that there is no answer: give up on the request. Once the
// answer was received or given up, done is to be called.
func (s *Server) Answer(ctx context.Context, peer ID, group uint64, request []byte) (answer []byte, done func(), err error) {
	ticket, decided, err := s.ask(peer, group, request)
	if err != nil {
		return nil, nil, err
	}
	var word verdict
	select {
	case word = <-decided:
	case <-ctx.Done():
		s.end(ticket)
		return nil, nil, ctx.Err()
	}
	if !word.serve {
		answer, err = refusal(fnRefusalBusy, uint64(word.retryAfterMs))
		return answer, func() {}, err
	}
	// As many at a time as there are processors: so the time that passes is about the work that is done.
	s.slots <- struct{}{}
	begun := time.Now()
	answer, err = s.respond(request)
	work := time.Since(begun)
	<-s.slots
	if err != nil {
		var text error
		if answer, text = refusal(fnRefusalNotAvailable); text != nil {
			s.end(ticket)
			return nil, nil, text
		}
	}
	s.made(ticket, uint64(len(answer)), work)
	return answer, func() { s.end(ticket) }, nil
}

func (s *Server) respond(request []byte) ([]byte, error) {
	if s.views == nil {
		return Respond(s.rules, s.reader, request)
	}
	view, err := s.views()
	if err != nil {
		return nil, err
	}
	answer, err := RespondWithState(s.rules, view, view, request)
	return answer, errors.Join(err, view.Close())
}

func refusal(fn function, words ...uint64) (answer []byte, err error) {
	err = with(func(f *frame) error {
		answer, err = f.bytes(fn, words...)
		return err
	})
	return answer, err
}

func (s *Server) ask(peer ID, group uint64, request []byte) (uint64, chan verdict, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return 0, nil, ErrClosed
	}
	s.f.begin()
	slice, err := s.f.slice(request)
	if err != nil {
		return 0, nil, err
	}
	out := s.f.room(16)
	if err := s.f.do(fnAdmissionAsk, s.admission, s.now(), s.f.id(peer), group, slice, out, out+8); err != nil {
		return 0, nil, err
	}
	ticket, retry := s.f.u64(out), s.f.u32(out+8)
	decided := make(chan verdict, 1)
	if ticket == 0 {
		decided <- verdict{retryAfterMs: retry}
		return 0, decided, nil
	}
	s.waiting[ticket] = decided
	s.turns()
	return ticket, decided, nil
}

// turns hands out what admission has decided. Called with the lock held.
func (s *Server) turns() {
	for {
		s.f.begin()
		out := s.f.room(24)
		if s.f.do(fnAdmissionPoll, s.admission, s.now(), out) != nil {
			return
		}
		r := s.f.read(out, 24)
		next := turn{kind: r.u32(), retryAfterMs: r.u32(), ticket: r.u64(), deadlineUs: r.u64()}
		if next.kind != 1 && next.kind != 2 {
			if next.deadlineUs != Never {
				now := s.now()
				s.timer.Reset(duration(max(next.deadlineUs, now) - now))
			}
			return
		}
		if decided, ok := s.waiting[next.ticket]; ok {
			delete(s.waiting, next.ticket)
			decided <- verdict{serve: next.kind == 1, retryAfterMs: next.retryAfterMs}
		} else if next.kind == 1 {
			// Given up while it waited.
			_ = s.f.do(fnAdmissionEnd, s.admission, s.now(), next.ticket)
		}
	}
}

func (s *Server) tick() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if !s.closed {
		s.turns()
	}
}

func (s *Server) made(ticket, bytes uint64, work time.Duration) {
	s.tell(fnAdmissionMade, ticket, bytes, micros(work))
}

func (s *Server) end(ticket uint64) { s.tell(fnAdmissionEnd, ticket) }

func (s *Server) tell(fn function, ticket uint64, more ...uint64) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed || ticket == 0 {
		return
	}
	if fn == fnAdmissionEnd {
		delete(s.waiting, ticket)
	}
	s.f.begin()
	// Tickets that are not known are let pass.
	_ = s.f.do(fn, append([]uint64{s.admission, s.now(), ticket}, more...)...)
	s.turns()
}

// Close ends serving. Requests that wait get no answer.
func (s *Server) Close() error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	s.timer.Stop()
	for ticket, decided := range s.waiting {
		delete(s.waiting, ticket)
		decided <- verdict{retryAfterMs: 1000}
	}
	s.f.begin()
	s.f.release(s.admission)
	s.f.shut()
	return nil
}
