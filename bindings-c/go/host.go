package hs2sync

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"
)

// carryOut does what calls ask for, in order.
func (n *Node) carryOut(ctx context.Context, work <-chan *Call) {
	for {
		select {
		case <-ctx.Done():
			return
		case call := <-work:
			n.tell(ctx, n.answerCall(ctx, call))
		}
	}
}

func (n *Node) answerCall(ctx context.Context, call *Call) func(now time.Duration) error {
	if call.Work == WorkSurvey || call.Work == WorkStage || call.Work == WorkActivate {
		return n.fetch(call)
	}
	if call.Work != WorkApply && call.Work != WorkReplay {
		err := error(nil)
		failed := Permanent
		if call.Work == WorkStoreHandovers {
			err = n.Store.StoreHandovers(call.Handovers)
			failed = n.failed("handovers are not stored", err)
		}
		return func(now time.Duration) error { return n.machine.Stored(now, call.ID, failed) }
	}
	through, err := n.apply(ctx, call)
	stopped := n.failed("blocks are not applied", err)
	var mismatch *MismatchError
	at := uint64(0)
	if errors.As(err, &mismatch) {
		stopped, at = StateMismatch, mismatch.Height
	}
	return func(now time.Duration) error { return n.machine.Applied(now, call.ID, through, stopped, at) }
}

// apply stores and executes the blocks of a call, and says up to which height that is done.
func (n *Node) apply(ctx context.Context, call *Call) (through uint64, err error) {
	position, err := n.Store.Position()
	if err != nil {
		return call.First - 1, err
	}
	through = max(position.Applied, call.First-1)
	if call.Work == WorkReplay {
		var blocks []Block
		err = n.Store.Blocks(call.First, call.Last, func(block Block) error {
			if block.Height > through {
				blocks = append(blocks, block)
			}
			return nil
		})
		if err != nil {
			return through, err
		}
		return n.execute(ctx, blocks, through)
	}
	if position.Stored == nil || position.Stored.Height < call.Last {
		if err := n.Store.StoreBlocks(call); err != nil {
			return through, err
		}
	}
	blocks := call.Blocks
	for len(blocks) > 0 && blocks[0].Height <= through {
		blocks = blocks[1:]
	}
	return n.execute(ctx, blocks, through)
}

func (n *Node) execute(ctx context.Context, blocks []Block, through uint64) (uint64, error) {
	if len(blocks) == 0 {
		return through, nil
	}
	last := blocks[len(blocks)-1].Height
	blocks, err := n.unexecuted(blocks)
	if err != nil {
		return through, err
	}
	if n.Execute != nil && len(blocks) > 0 {
		if err := n.Execute(ctx, blocks); err != nil {
			return through, err
		}
	}
	if err := n.Store.SetApplied(last); err != nil {
		return through, err
	}
	return last, nil
}

// MismatchError is returned by [Node.Execute] where the state after a block has another root than the block says: the
// network agreed on one, the application has made another, and the machine halts.
type MismatchError struct{ Height uint64 }

func (e *MismatchError) Error() string {
	return fmt.Sprintf("hs2sync: the state after block %d has another root than the network agreed on", e.Height)
}

// failed says how the machine is told of an error: what a disk can't do now may work later.
func (n *Node) failed(what string, err error) HostError {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, syscall.ENOSPC):
		n.Log.Error(what, "error", err)
		return NoSpace
	}
	n.Log.Error(what, "error", err)
	return Transient
}

// jobQueue holds jobs that no goroutine has begun: the lowest heights first.
type jobQueue struct {
	mutex  sync.Mutex
	there  *sync.Cond
	jobs   []*Job
	closed bool
}

func newJobQueue() *jobQueue {
	q := &jobQueue{}
	q.there = sync.NewCond(&q.mutex)
	return q
}

func (q *jobQueue) put(job *Job) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.jobs = append(q.jobs, job)
	q.there.Signal()
}

func (q *jobQueue) remove(id uint64) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for at, job := range q.jobs {
		if job.ID == id {
			q.jobs = append(q.jobs[:at], q.jobs[at+1:]...)
			return
		}
	}
}

// take waits for a job. It gives none once the queue is closed.
func (q *jobQueue) take() (*Job, bool) {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	for len(q.jobs) == 0 && !q.closed {
		q.there.Wait()
	}
	if q.closed {
		return nil, false
	}
	first := 0
	for at, job := range q.jobs {
		if job.Height < q.jobs[first].Height || job.Height == q.jobs[first].Height && job.ID < q.jobs[first].ID {
			first = at
		}
	}
	job := q.jobs[first]
	q.jobs = append(q.jobs[:first], q.jobs[first+1:]...)
	return job, true
}

func (q *jobQueue) close() {
	q.mutex.Lock()
	defer q.mutex.Unlock()
	q.closed = true
	q.there.Broadcast()
}
