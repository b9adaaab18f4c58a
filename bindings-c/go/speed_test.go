package hs2sync

import (
	"syscall"
	"testing"
	"time"
)

// BenchmarkCatchUp drives a machine through 100,000 blocks of 1 KiB and 100 validators, answers in memory, and looks at each
// block: what the engine itself takes. It says how many blocks pass in a second of the process's CPU time.
func BenchmarkCatchUp(b *testing.B) {
	const blocks = 100_000
	chain := newTestChainOf(b, blocks, 100, 1024)
	answers := map[string][]byte{}
	catchUp(b, chain, answers)
	before := cpu(b)
	for b.Loop() {
		catchUp(b, chain, answers)
	}
	b.ReportMetric(blocks*float64(b.N)/(cpu(b)-before).Seconds(), "blocks/CPU-second")
}

func cpu(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func catchUp(b *testing.B, chain *testChain, answers map[string][]byte) {
	rules := Rules{Genesis: chain.genesis}
	machine, err := NewMachine(nil, Start{Rules: rules}, 7, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer machine.Close()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	now, seen, height := time.Duration(0), 0, uint64(0)
	var requests []Request
	var jobs []*Job
	var calls []*Call
	must(machine.Start(now, Never))
	for peer := byte(1); peer <= 3; peer++ {
		must(machine.Connected(now, ID{peer}, uint64(peer)))
	}
	for height < chain.blocks {
		for waits := false; !waits; {
			output, err := machine.Poll()
			must(err)
			switch output := output.(type) {
			case Request:
				requests = append(requests, output)
			case Verify:
				jobs = append(jobs, output.Job)
			case *Call:
				calls = append(calls, output)
			case Wait:
				waits = true
			}
		}
		now += 100 * time.Microsecond
		switch {
		case len(calls) > 0:
			call := calls[0]
			calls = calls[1:]
			for _, block := range call.Blocks {
				seen += int(block.Payload[0]) + len(block.Payload)
			}
			height = call.Last
			must(machine.Applied(now, call.ID, call.Last, 0, 0))
		case len(jobs) > 0:
			verdict, err := jobs[0].Run(rules)
			must(err)
			jobs = jobs[1:]
			must(machine.Verdict(now, verdict))
		case len(requests) > 0:
			request := requests[0]
			requests = requests[1:]
			answer, ok := answers[string(request.Bytes)]
			if !ok {
				answer, err = Respond(rules, chain, request.Bytes)
				must(err)
				answers[string(request.Bytes)] = answer
			}
			must(machine.Response(now, request.ID, answer))
		default:
			now += 100 * time.Millisecond
			must(machine.Timeout(now))
		}
	}
	if seen == 0 {
		b.Fatal("no block was looked at")
	}
}
