package hs2sync

import "encoding/binary"

// layout walks a plain value of hs2sync.h field by field, with the gaps that C leaves.
type layout struct {
	bytes []byte
	word  uint64
	at    uint64
}

func (l *layout) next(size uint64) []byte {
	l.at = (l.at + size - 1) / size * size
	field := l.bytes[l.at : l.at+size]
	l.at += size
	return field
}

func (l *layout) u64() uint64 { return binary.LittleEndian.Uint64(l.next(8)) }
func (l *layout) u32() uint32 { return binary.LittleEndian.Uint32(l.next(4)) }
func (l *layout) u16() uint16 { return binary.LittleEndian.Uint16(l.next(2)) }

func (l *layout) address() uint64 {
	if l.word == 4 {
		return uint64(l.u32())
	}
	return l.u64()
}

func (l *layout) id() (id ID) {
	l.at += uint64(copy(id[:], l.bytes[l.at:]))
	return id
}

func (l *layout) setU64(value uint64) { binary.LittleEndian.PutUint64(l.next(8), value) }
func (l *layout) setU32(value uint32) { binary.LittleEndian.PutUint32(l.next(4), value) }
func (l *layout) setU16(value uint16) { binary.LittleEndian.PutUint16(l.next(2), value) }

func (l *layout) setAddress(value uint64) {
	if l.word == 4 {
		l.setU32(uint32(value))
	} else {
		l.setU64(value)
	}
}

func (l *layout) setID(id ID) { l.at += uint64(copy(l.bytes[l.at:], id[:])) }

// slice reads a slice: where, and how long.
func (l *layout) slice() (at, length uint64) { return l.address(), l.address() }
