package hs2sync

import "fmt"

// scratchBytes is the room for the arguments and results of one call. Longer ones are put into buffers of the library.
const scratchBytes = 96 << 10

// memory is one instance of the library, as both engines give it: its memory by address, and its functions. An address is
// a number of word bytes; a slice is the address of its data and its length.
type memory interface {
	// word is the size of an address in bytes: 4 or 8.
	word() uint64
	// view shows the library's memory, until the next call of a function.
	view(address, length uint64) []byte
	// call runs a function. Words are numbers, handles and addresses.
	call(f function, words []uint64) int32
	// lastError says what was wrong with the call before.
	lastError() string
	// table writes a table of functions that ask this frame.
	table(kind tableKind, out uint64)
	// usable is false once the library has panicked, or the instance's memory has grown so much that a new one is better.
	usable() bool
	// close gives the instance back to the system.
	close()
}

// frame is one conversation with the library: arguments are put into its scratch memory, functions called, and results
// read. Used by one goroutine at a time.
type frame struct {
	memory
	scratch uint64
	used    uint64
	// held are buffers of the library with longer arguments.
	held []uint64
	// tables are what functions of the host are asked for while a call runs.
	tables *tables
	// natives are the handles of native chains that were used here, and epochs those of their epochs.
	natives map[*Genesis]native
	epochs  map[*Epoch]uint64
}

// begin forgets the arguments of the conversation before.
func (f *frame) begin() {
	f.rewind(0, 0)
}

func (f *frame) rewind(used uint64, held int) {
	f.used = used
	for _, buffer := range f.held[held:] {
		f.release(buffer)
	}
	f.held = f.held[:held]
}

// do calls a function that gives a status.
func (f *frame) do(fn function, words ...uint64) error {
	status := f.call(fn, words)
	if status == 0 {
		return nil
	}
	return &Error{Status: Status(status), Text: f.lastError()}
}

// room is zeroed memory for an argument or a result.
func (f *frame) room(length uint64) uint64 {
	at := f.scratch + f.used
	f.used += (length + 15) &^ 15
	if f.used > scratchBytes {
		panic(fmt.Sprintf("hs2sync: an argument of %d bytes in scratch memory", length))
	}
	clear(f.view(at, length))
	return at
}

// put brings bytes into the library's memory, until the conversation ends.
func (f *frame) put(bytes []byte) (uint64, error) {
	if uint64(len(bytes))+f.used <= scratchBytes/2 {
		at := f.room(uint64(len(bytes)))
		copy(f.view(at, uint64(len(bytes))), bytes)
		return at, nil
	}
	buffer, at, err := f.buffer(len(bytes))
	if err != nil {
		return 0, err
	}
	f.held = append(f.held, buffer)
	copy(f.view(at, uint64(len(bytes))), bytes)
	return at, nil
}

// buffer makes an open buffer of the library, and says where its memory is.
func (f *frame) buffer(length int) (handle, at uint64, err error) {
	out := f.room(24)
	if err := f.do(fnBufferNew, uint64(length), out); err != nil {
		return 0, 0, err
	}
	handle = f.u64(out)
	if err := f.do(fnBufferMemory, handle, out+8, out+16); err != nil {
		f.release(handle)
		return 0, 0, err
	}
	return handle, f.address(out + 8), nil
}

// give makes a frozen buffer of the library, which shares nothing with bytes.
func (f *frame) give(bytes []byte) (uint64, error) {
	handle, at, err := f.buffer(len(bytes))
	if err != nil {
		return 0, err
	}
	copy(f.view(at, uint64(len(bytes))), bytes)
	if err := f.do(fnBufferFreeze, handle, uint64(len(bytes))); err != nil {
		f.release(handle)
		return 0, err
	}
	return handle, nil
}

// slice is the address of a slice of bytes.
func (f *frame) slice(bytes []byte) (uint64, error) {
	at, err := f.put(bytes)
	if err != nil {
		return 0, err
	}
	out := f.room(2 * f.word())
	f.setSlice(out, at, uint64(len(bytes)))
	return out, nil
}

// maxListed is how many slices a list has at most: the headers of one segment.
const maxListed = 1024

// list is the address of slices in a row; of nothing, 0.
func (f *frame) list(parts [][]byte) (uint64, error) {
	if len(parts) == 0 {
		return 0, nil
	}
	if len(parts) > maxListed {
		return 0, fmt.Errorf("hs2sync: %d parts: at most %d are handed in at a time", len(parts), maxListed)
	}
	out := f.room(uint64(len(parts)) * 2 * f.word())
	for i, part := range parts {
		at, err := f.put(part)
		if err != nil {
			return 0, err
		}
		f.setSlice(out+uint64(i)*2*f.word(), at, uint64(len(part)))
	}
	return out, nil
}

func (f *frame) setSlice(out, at, length uint64) {
	w := f.write(out, 2*f.word())
	w.setAddress(at)
	w.setAddress(length)
}

// id is the address of 32 bytes.
func (f *frame) id(id ID) uint64 {
	at := f.room(32)
	copy(f.view(at, 32), id[:])
	return at
}

// text is the address of a text that ends with a zero byte.
func (f *frame) text(text string) (uint64, error) {
	return f.put(append([]byte(text), 0))
}

// handle calls a function whose last result is a handle.
func (f *frame) handle(fn function, words ...uint64) (uint64, error) {
	out := f.room(8)
	if err := f.do(fn, append(words, out)...); err != nil {
		return 0, err
	}
	return f.u64(out), nil
}

// decoded is a handle of what a function reads from these bytes.
func (f *frame) decoded(fn function, encoded []byte) (uint64, error) {
	slice, err := f.slice(encoded)
	if err != nil {
		return 0, err
	}
	return f.handle(fn, slice)
}

// bytes calls a function whose last result is a buffer, and copies it.
func (f *frame) bytes(fn function, words ...uint64) ([]byte, error) {
	handle, err := f.handle(fn, words...)
	if err != nil {
		return nil, err
	}
	return f.take(handle)
}

// take copies a buffer of the library and gives it back.
func (f *frame) take(handle uint64) ([]byte, error) {
	defer f.release(handle)
	out := f.room(2 * f.word())
	if err := f.do(fnBufferBytes, handle, out); err != nil {
		return nil, err
	}
	return f.copied(out), nil
}

// copied is a copy of the bytes that the slice at an address leads to.
func (f *frame) copied(slice uint64) []byte {
	r := f.read(slice, 2*f.word())
	at, length := r.address(), r.address()
	if length == 0 {
		return nil
	}
	return append([]byte(nil), f.view(at, length)...)
}

func (f *frame) release(handle uint64) {
	// A handle that is none is let pass.
	f.call(fnRelease, []uint64{handle})
}

func (f *frame) u64(at uint64) uint64 {
	r := f.read(at, 8)
	return r.u64()
}

func (f *frame) u32(at uint64) uint32 {
	r := f.read(at, 4)
	return r.u32()
}

// address reads a number as wide as an address.
func (f *frame) address(at uint64) uint64 {
	r := f.read(at, f.word())
	return r.address()
}

func (f *frame) read(at, length uint64) layout {
	return layout{bytes: f.view(at, length), word: f.word()}
}

func (f *frame) write(at, length uint64) layout {
	return layout{bytes: f.view(at, length), word: f.word()}
}
