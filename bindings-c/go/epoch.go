package hs2sync

// Epoch is an epoch of the native chain: a validator set and the heights at which it decides. It is immutable, and trusted:
// it comes from the genesis, from a handover that was proven, or from a caller who knows.
type Epoch struct {
	// Number is the epoch's number, First and Last its heights.
	Number, First, Last uint64

	genesis *Genesis
	encoded []byte
}

// FirstEpoch is epoch 0, as the genesis document says it.
func (g *Genesis) FirstEpoch() (*Epoch, error) {
	return g.epoch(func(f *frame, genesis uint64) (uint64, error) { return f.handle(fnEpochFirst, genesis) })
}

// NewEpoch makes an epoch that the caller trusts: for an engine that begins a new one. Validators may be in any order.
func (g *Genesis) NewEpoch(number, first, last uint64, validators []Validator) (*Epoch, error) {
	return g.epoch(func(f *frame, genesis uint64) (uint64, error) {
		members, err := f.members(validators)
		if err != nil {
			return 0, err
		}
		return f.handle(fnEpochNew, genesis, number, first, last, members, uint64(len(validators)))
	})
}

// DecodeEpoch reads an epoch that was proven before and kept: [Epoch.Bytes], or [Link.EncodedEpoch].
func (g *Genesis) DecodeEpoch(encoded []byte) (*Epoch, error) {
	return g.epoch(func(f *frame, genesis uint64) (uint64, error) {
		slice, err := f.slice(encoded)
		if err != nil {
			return 0, err
		}
		return f.handle(fnEpochDecode, genesis, slice)
	})
}

// Next proves the epoch that follows: that this one ended as the handover says, and names the next.
func (e *Epoch) Next(handover []byte) (*Epoch, error) {
	return e.genesis.epoch(func(f *frame, _ uint64) (uint64, error) {
		before, err := f.epoch(e)
		if err != nil {
			return 0, err
		}
		slice, err := f.slice(handover)
		if err != nil {
			return 0, err
		}
		return f.handle(fnEpochNext, before, slice)
	})
}

// Bytes are the epoch's canonical encoding.
func (e *Epoch) Bytes() []byte { return append([]byte(nil), e.encoded...) }

// epoch reads what a function that makes an epoch made.
func (g *Genesis) epoch(make func(f *frame, genesis uint64) (uint64, error)) (*Epoch, error) {
	epoch := &Epoch{genesis: g}
	err := with(func(f *frame) error {
		handles, err := f.native(g)
		if err != nil {
			return err
		}
		handle, err := make(f, handles.genesis)
		if err != nil {
			return err
		}
		defer f.release(handle)
		out := f.room(32)
		if err := f.do(fnEpochRead, handle, out, out+8, out+16, out+24); err != nil {
			return err
		}
		r := f.read(out, 24)
		epoch.Number, epoch.First, epoch.Last = r.u64(), r.u64(), r.u64()
		epoch.encoded, err = f.bytes(fnEpochEncode, handle)
		return err
	})
	if err != nil {
		return nil, err
	}
	return epoch, nil
}

// members is the address of a validator set.
func (f *frame) members(validators []Validator) (uint64, error) {
	members := make([]byte, 40*len(validators))
	w := layout{bytes: members, word: f.word()}
	for _, validator := range validators {
		w.setID(validator.Key)
		w.setU64(validator.Power)
	}
	return f.put(members)
}

// epoch is the handle of an epoch in one instance, which is kept for the next use.
func (f *frame) epoch(epoch *Epoch) (uint64, error) {
	if handle, ok := f.epochs[epoch]; ok {
		return handle, nil
	}
	handles, err := f.native(epoch.genesis)
	if err != nil {
		return 0, err
	}
	if len(f.epochs) >= 8 {
		f.forgetEpochs()
	}
	encoded, err := f.slice(epoch.encoded)
	if err != nil {
		return 0, err
	}
	handle, err := f.handle(fnEpochDecode, handles.genesis, encoded)
	if err != nil {
		return 0, err
	}
	if f.epochs == nil {
		f.epochs = map[*Epoch]uint64{}
	}
	f.epochs[epoch] = handle
	return handle, nil
}

func (f *frame) forgetEpochs() {
	for key, handle := range f.epochs {
		f.release(handle)
		delete(f.epochs, key)
	}
}
