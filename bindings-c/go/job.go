package hs2sync

import (
	"errors"
	"fmt"
)

// Job is one verification: self-contained, of bounded work, for any goroutine. It is plain data.
type Job struct {
	// ID is the job's number, which [CancelJob] names.
	ID uint64
	// Height is from which height on blocks wait for it: of the jobs that are out, the lowest is to be run first.
	Height  uint64
	encoded []byte
	// light says that a light client has made it, with this checkpoint.
	light      bool
	checkpoint []byte
}

// Verdict is what a job found. It is plain data.
type Verdict struct{ encoded []byte }

// Run does the job's work under the rules of the chain. What it comes to, proven or false, is in the verdict; an error
// says that nothing was checked.
func (j *Job) Run(rules Rules) (*Verdict, error) {
	verdict := &Verdict{}
	err := with(func(f *frame) error {
		job, err := f.decoded(fnJobDecode, j.encoded)
		if err != nil {
			return err
		}
		defer f.release(job)
		fn, chain, err := f.pick(rules, fnJobRun, fnJobRunOwn)
		if err == nil && j.light {
			if chain, err = f.lightChain(rules.Genesis, j.checkpoint); err == nil {
				defer f.release(chain)
			}
		}
		if err != nil {
			return err
		}
		out := f.room(8)
		f.mark()
		if err := f.do(fn, job, chain, out); err != nil {
			return err
		}
		handle := f.u64(out)
		defer f.release(handle)
		verdict.encoded, err = f.bytes(fnVerdictEncode, handle)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("job %d: %w", j.ID, err)
	}
	return verdict, nil
}

// Respond answers a peer's request from the host's store, with bounded work, whatever is asked. What the store doesn't
// hold is answered with "not available".
func Respond(rules Rules, reader Reader, request []byte) ([]byte, error) {
	var answer []byte
	err := with(func(f *frame) error {
		table := f.host(readerTable, reader, nil)
		slice, err := f.slice(request)
		if err != nil {
			return err
		}
		id := f.id(rules.ID())
		out := f.room(8)
		fn, chain, err := f.pick(rules, fnRespond, fnRespondOwn)
		if err != nil {
			return err
		}
		f.mark()
		if fn == fnRespond {
			err = f.do(fn, chain, table, slice, out)
		} else {
			err = f.do(fn, chain, id, table, slice, out)
		}
		if err != nil {
			if failed := f.tables.failed; failed != nil {
				return fmt.Errorf("%w: %w", err, failed)
			}
			return err
		}
		answer, err = f.take(f.u64(out))
		return err
	})
	return answer, err
}

// SegmentTip is the tip message that the end of a certified segment makes, for a store that serves it; nil for an anchored
// one.
func SegmentTip(rules Rules, segment []byte) (tip []byte, err error) {
	if rules.Own != nil {
		return rules.Own.TipOf(segment)
	}
	err = with(func(f *frame) error {
		_, chain, err := f.pick(rules, fnSegmentTip, fnSegmentTip)
		if err != nil {
			return err
		}
		slice, err := f.slice(segment)
		if err != nil {
			return err
		}
		tip, err = f.bytes(fnSegmentTip, chain, slice)
		return err
	})
	if errors.Is(err, StatusNotFound) {
		return nil, nil
	}
	return tip, err
}
