// Package hs2sync brings a node that is behind to where a HotStuff-2 network is, from peers that nobody trusts.
//
// The package holds the synchronization core of hotstuff2-sync, which is written in Rust, in one of two engines behind the
// same API. By default it is a WebAssembly module that is embedded here and run by wazero: no C compiler, no shared library,
// and it cross-compiles. With the build tag hs2cgo it is libhs2sync, linked by cgo.
//
// [Node] is a whole node: give it a [Store], a [Network] and a function that executes blocks. Package quicnet is the network,
// package pebblestore a durable store. [Machine] is the core alone, for hosts that bring a loop of their own: facts go in,
// work comes out, and nothing in it does I/O or knows a clock.
//
// Bytes that come from peers are checked in jobs ([Job.Run]), on any goroutine. What a [Call] brings is final and verified.
package hs2sync
