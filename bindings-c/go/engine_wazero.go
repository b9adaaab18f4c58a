//go:build !hs2cgo

package hs2sync

import (
	"context"
	_ "embed"
	"fmt"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
)

// Engine names the engine that this build has.
const Engine = "wazero"

// module is the library, made by `cargo xtask go`.
//
//go:embed hs2sync.wasm
var module []byte

type engine struct {
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
}

// loadEngine compiles the module once for the process.
var loadEngine = sync.OnceValues(func() (*engine, error) {
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	i32 := api.ValueTypeI32
	_, err := runtime.NewHostModuleBuilder("hs2").NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(asked), []api.ValueType{i32, i32, i32}, []api.ValueType{i32}).
		Export("host").Instantiate(ctx)
	if err != nil {
		return nil, fmt.Errorf("hs2sync: host functions: %w", err)
	}
	compiled, err := runtime.CompileModule(ctx, module)
	if err != nil {
		return nil, fmt.Errorf("hs2sync: the embedded module: %w", err)
	}
	return &engine{runtime: runtime, compiled: compiled}, nil
})

// maxKeptBytes is the memory with which an instance is kept for later: a module's memory never shrinks.
const maxKeptBytes = 64 << 20

type instanceKey struct{}

// instance is the library in memory of its own. One goroutine at a time uses it.
type instance struct {
	module api.Module
	ctx    context.Context
	frame  *frame
	// outer are the functions; inner the same once more, for what functions of the host call while one runs.
	outer, inner [functions]api.Function
	last         api.Function
	depth        int
	stack        [2][16]uint64
	broken       error
}

// openFrame makes an instance of the library.
func openFrame() (*frame, error) {
	engine, err := loadEngine()
	if err != nil {
		return nil, err
	}
	made := &instance{}
	made.ctx = context.WithValue(context.Background(), instanceKey{}, made)
	made.module, err = engine.runtime.InstantiateModule(made.ctx, engine.compiled, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil, fmt.Errorf("hs2sync: an instance of the module: %w", err)
	}
	room, err := made.module.ExportedFunction("hs2_wasm_room").Call(made.ctx, scratchBytes)
	if err != nil {
		return nil, fmt.Errorf("hs2sync: an instance of the module: %w", err)
	}
	made.last = made.module.ExportedFunction("hs2_last_error")
	made.frame = &frame{memory: made, scratch: room[0]}
	return made.frame, nil
}

func (i *instance) word() uint64 { return 4 }

func (i *instance) view(address, length uint64) []byte {
	bytes, ok := i.module.Memory().Read(uint32(address), uint32(length))
	if !ok {
		panic(fmt.Sprintf("hs2sync: %d bytes at %d are outside of the module's memory", length, address))
	}
	return bytes
}

func (i *instance) call(f function, words []uint64) int32 {
	if i.broken != nil {
		return int32(StatusPanicked)
	}
	set, stack := &i.outer, i.stack[0][:]
	if i.depth > 0 {
		set, stack = &i.inner, i.stack[1][:]
	}
	if set[f] == nil {
		set[f] = i.module.ExportedFunction(functionNames[f])
	}
	copy(stack, words)
	i.depth++
	err := set[f].CallWithStack(i.ctx, stack[:max(len(words), 1)])
	i.depth--
	if err != nil {
		i.broken = err
		return int32(StatusPanicked)
	}
	return int32(uint32(stack[0]))
}

func (i *instance) lastError() string {
	if i.broken != nil {
		return "the library panicked: " + i.broken.Error()
	}
	result, err := i.last.Call(i.ctx)
	if err != nil {
		i.broken = err
		return err.Error()
	}
	for length := uint64(0); length < 512; length++ {
		if i.view(result[0]+length, 1)[0] == 0 {
			return string(i.view(result[0], length))
		}
	}
	return ""
}

func (i *instance) table(kind tableKind, out uint64) {
	name := [...]string{"hs2_wasm_reader", "hs2_wasm_chain", "hs2_wasm_states"}[kind]
	// It writes where it is told, and has no way to fail.
	if _, err := i.module.ExportedFunction(name).Call(i.ctx, 0, out); err != nil {
		i.broken = err
	}
}

func (i *instance) usable() bool { return i.broken == nil && i.module.Memory().Size() <= maxKeptBytes }

func (i *instance) close() { _ = i.module.Close(i.ctx) }

// asked is the module's one import: a function of a host's table.
func asked(ctx context.Context, _ api.Module, stack []uint64) {
	found := ctx.Value(instanceKey{}).(*instance)
	stack[0] = uint64(uint32(found.frame.asked(uint32(stack[1]), uint64(uint32(stack[2])))))
}
