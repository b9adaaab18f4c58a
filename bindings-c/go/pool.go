package hs2sync

import (
	"runtime"
	"sync"
)

// pool keeps instances of the library that are of no use at the moment: as many as there are processors.
var pool struct {
	sync.Mutex
	free []*frame
}

// borrow takes an instance out of the pool, or makes one.
func borrow() (*frame, error) {
	pool.Lock()
	if last := len(pool.free) - 1; last >= 0 {
		f := pool.free[last]
		pool.free = pool.free[:last]
		pool.Unlock()
		return f, nil
	}
	pool.Unlock()
	return openFrame()
}

// giveBack puts an instance into the pool, unless there are enough or a panic broke it.
func giveBack(f *frame) {
	f.begin()
	f.tables = nil
	pool.Lock()
	keep := f.usable() && len(pool.free) < runtime.GOMAXPROCS(0)
	if keep {
		pool.free = append(pool.free, f)
	}
	pool.Unlock()
	if !keep {
		f.shut()
	}
}

// shut gives everything of an instance back.
func (f *frame) shut() {
	f.begin()
	f.forgetNatives()
	f.close()
}

// with has an instance do something that leaves nothing behind.
func with(do func(*frame) error) error {
	f, err := borrow()
	if err != nil {
		return err
	}
	defer giveBack(f)
	f.begin()
	return do(f)
}
