package hs2sync

// blocksAtOnce is how many blocks of a call are asked for in one go.
const blocksAtOnce = 256

// call reads the work that a call asks for, whole: the payloads of its blocks are copied once.
func (m *Machine) call(f *frame, handle uint64) (*Call, error) {
	size := 40 + 4*f.word()
	out := f.room(size)
	if err := f.do(fnCallRead, handle, out); err != nil {
		return nil, err
	}
	r := f.read(out, size)
	call := &Call{ID: r.u64(), Work: Work(r.u32())}
	r.u32()
	call.First, call.Last = r.u64(), r.u64()
	payloadBytes, segments, handovers := r.u64(), r.address(), r.address()
	if at, length := r.slice(); length > 0 {
		call.Tip = append([]byte(nil), f.view(at, length)...)
	}
	for index := range handovers {
		link, err := f.link(handle, index)
		if err != nil {
			return nil, err
		}
		call.Handovers = append(call.Handovers, link)
	}
	switch call.Work {
	case WorkSurvey, WorkStage, WorkActivate:
		return call, f.stateCall(handle, call)
	case WorkApply:
	default:
		return call, nil
	}
	used, held := f.used, len(f.held)
	for index := range segments {
		f.rewind(used, held)
		segment, err := m.segment(f, handle, index)
		if err != nil {
			return nil, err
		}
		call.Segments = append(call.Segments, segment)
	}
	f.rewind(used, held)
	call.Blocks = make([]Block, 0, call.Last-call.First+1)
	return call, m.blocks(f, handle, call, payloadBytes)
}

func (m *Machine) blocks(f *frame, handle uint64, call *Call, payloadBytes uint64) error {
	size := 80 + 2*f.word()
	blocks := f.room(blocksAtOnce * size)
	count := f.room(8)
	fn, chain, err := f.pick(m.rules, fnCallBlocks, fnCallBlocksOwn)
	if err != nil {
		return err
	}
	payloads := make([]byte, 0, payloadBytes)
	for first := call.First; first <= call.Last; first = call.Blocks[len(call.Blocks)-1].Height + 1 {
		f.mark()
		if err := f.do(fn, handle, chain, first, blocks, blocksAtOnce, count); err != nil {
			return err
		}
		for index := range f.address(count) {
			r := f.read(blocks+index*size, size)
			block := Block{Height: r.u64(), TimestampMs: r.u64(), ID: r.id(), StateRoot: r.id()}
			at, length := r.slice()
			start := len(payloads)
			payloads = append(payloads, f.view(at, length)...)
			block.Payload = payloads[start:len(payloads):len(payloads)]
			call.Blocks = append(call.Blocks, block)
		}
	}
	return nil
}

func (m *Machine) segment(f *frame, handle, index uint64) (StoredSegment, error) {
	size := 32 + 4*f.word()
	out := f.room(size)
	fn, chain, err := f.pick(m.rules, fnCallSegment, fnCallSegmentOwn)
	if err != nil {
		return StoredSegment{}, err
	}
	f.mark()
	if err := f.do(fn, handle, chain, index, out); err != nil {
		return StoredSegment{}, err
	}
	r := f.read(out, size)
	segment := StoredSegment{First: r.u64(), Last: r.u64(), Epoch: r.u64(), Certified: r.u64() != 0}
	segment.Segment, segment.Audit = f.copied(out+32), f.copied(out+32+2*f.word())
	return segment, nil
}

func (f *frame) link(handle, index uint64) (Link, error) {
	size := 80 + 4*f.word()
	out := f.room(size)
	if err := f.do(fnCallHandover, handle, index, out); err != nil {
		return Link{}, err
	}
	r := f.read(out, size)
	link := Link{Ended: r.u64(), Boundary: r.u64(), BoundaryID: r.id(), Epoch: r.u64(), First: r.u64(), Last: r.u64()}
	link.BoundaryTimeMs = r.u64()
	link.EncodedEpoch, link.Handover = f.copied(out+80), f.copied(out+80+2*f.word())
	return link, nil
}
