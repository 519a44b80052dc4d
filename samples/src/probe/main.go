// probe is a program whose maps are known: it prints where they lie in memory, word by word, and
// then works on one of them, a phase at a time, so that hardware breakpoints can be set first.
//
//	probe MAP ENTRIES GOROUTINES ROUNDS PHASE...
//
// It prints one JSON line a word (see words.go), then {"ready": true}. Then it waits for a newline on
// standard input before each phase, prints {"done": PHASE} after it, and ends when standard input
// does. Phases: lookup, update, delete, insert, iterate, grow, clear. The goroutines take turns at
// the entries under one lock, each on an operating system thread of its own. The collector is off:
// memory that a map leaves behind when it grows is never another object's.
package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
)

var (
	turn sync.Mutex
	sink int
)

func main() {
	debug.SetGCPercent(-1)
	if len(os.Args) < 6 {
		fail("usage: probe MAP ENTRIES GOROUTINES ROUNDS PHASE...")
	}
	var s *subject
	for i := range subjects {
		if subjects[i].name == os.Args[1] {
			s = &subjects[i]
		}
	}
	if s == nil {
		fail("no map is called " + os.Args[1])
	}
	entries, goroutines, rounds := number(os.Args[2]), number(os.Args[3]), number(os.Args[4])

	for i := range subjects {
		for k := 0; k < entries && k < subjects[i].most; k++ {
			subjects[i].insert(k)
		}
	}
	if entries > s.most {
		entries = s.most
	}
	work, done := make(chan func()), make(chan bool)
	for g := 0; g < goroutines; g++ {
		go func() {
			runtime.LockOSThread()
			for f := range work {
				f()
				done <- true
			}
		}()
	}
	for i := range subjects {
		printWords(&subjects[i])
	}
	print1(`{"ready":true}`)

	for _, phase := range os.Args[5:] {
		wait()
		for g := 0; g < goroutines; g++ {
			g := g
			work <- func() {
				for r := 0; r < rounds; r++ {
					run(s, phase, entries, g, goroutines)
				}
			}
		}
		for g := 0; g < goroutines; g++ {
			<-done
		}
		print1(`{"done":"` + phase + `"}`)
	}
	wait() // whoever watches the process may let go of it first
}

// run does one goroutine's share of a phase: every goroutines-th entry, from the g-th on.
func run(s *subject, phase string, entries, g, goroutines int) {
	switch phase {
	case "iterate":
		turn.Lock()
		sink += s.iterate()
		turn.Unlock()
	case "clear":
		turn.Lock()
		s.clear()
		turn.Unlock()
	default:
		first, last := 0, entries
		if phase == "grow" {
			first, last = entries, 4*entries
			if last > s.most {
				last = s.most
			}
		}
		for k := first + g; k < last; k += goroutines {
			turn.Lock()
			switch phase {
			case "lookup":
				sink += s.lookup(k)
			case "update", "insert", "grow":
				s.insert(k)
			case "delete":
				s.remove(k)
			default:
				fail("no phase is called " + phase)
			}
			turn.Unlock()
			runtime.Gosched()
		}
	}
}

// wait returns after a newline on standard input, and ends the program when there is none.
func wait() {
	b := []byte{0}
	for b[0] != '\n' {
		if n, _ := os.Stdin.Read(b); n == 0 {
			os.Exit(0)
		}
	}
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		fail(s + " is not a number from 1 up")
	}
	return n
}

func print1(line string) { os.Stdout.WriteString(line + "\n") }

func fail(why string) {
	os.Stderr.WriteString("probe: " + why + "\n")
	os.Exit(2)
}
