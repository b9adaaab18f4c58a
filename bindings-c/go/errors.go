package hs2sync

import (
	"errors"
	"fmt"
)

// Status says why a function of the library did nothing. Numbers never change their meaning. errors.Is finds it in an
// [Error].
type Status int32

// Statuses, as in hs2sync.h.
const (
	StatusInvalidArgument Status = 1
	StatusStaleHandle     Status = 2
	StatusWrongKind       Status = 3
	StatusInUse           Status = 4
	StatusPoisoned        Status = 5
	StatusPanicked        Status = 6
	StatusMalformed       Status = 7
	StatusUnknownName     Status = 8
	StatusUnreadable      Status = 9
	StatusOutOfRange      Status = 10
	StatusNotFound        Status = 11
	StatusWrongState      Status = 12
	StatusFalse           Status = 13
	StatusHostFailed      Status = 14
	StatusTooMany         Status = 15
	StatusRefused         Status = 16
	StatusSessionOver     Status = 17
)

// Error makes a status an error.
func (s Status) Error() string { return fmt.Sprintf("hs2sync: status %d", int32(s)) }

// Error is a failure of a function of the library: a status, and words for people.
type Error struct {
	Status Status
	Text   string
}

func (e *Error) Error() string { return "hs2sync: " + e.Text }

// Is reports whether target is the error's status.
func (e *Error) Is(target error) bool {
	status, ok := target.(Status)
	return ok && status == e.Status
}

// ErrClosed is returned by methods of something that was closed.
var ErrClosed = errors.New("hs2sync: closed")

// Fault says that bytes are provably false. A [Chain] returns it, and whoever gave the bytes is banned for it. Numbers are
// those of the library ([CodeName] has their names), or the host's own.
type Fault uint32

// Faults that a chain may find.
const (
	FaultMalformed       Fault = 0x1101
	FaultNonCanonical    Fault = 0x1102
	FaultOversize        Fault = 0x1103
	FaultWrongRange      Fault = 0x1104
	FaultWrongChain      Fault = 0x1105
	FaultWrongAnchor     Fault = 0x1107
	FaultWrongParent     Fault = 0x1108
	FaultBadCertificate  Fault = 0x1109
	FaultNotFinal        Fault = 0x110a
	FaultBadEpoch        Fault = 0x110b
	FaultBadValidatorSet Fault = 0x110c
	FaultBadPayload      Fault = 0x110d
)

// Error makes a fault an error.
func (f Fault) Error() string { return fmt.Sprintf("hs2sync: provably false (%#04x)", uint32(f)) }
