// A program that counts its own uses of a map: told `insert 100`, `update 50`, `lookup 20` or
// `delete 10` on a line of standard input, it does so many on two threads in turn, and prints how many
// it did. `set wanted 17` has `find` look for that key; `crash` and `exec` do what they say.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"unsafe"
)

type cache struct {
	hits     uint64
	sessions map[uint64]uint64
}

type server struct {
	name  string
	cache *cache
}

var (
	sessions = map[uint64]uint64{1: 1}
	small    = map[uint64]uint64{}
	late     map[string]int
	front    = &server{"front", &cache{0, map[uint64]uint64{1: 1}}}
	sum      uint64
	next     uint64 = 2
	wanted   uint64
)

//go:noinline
func insert(m map[uint64]uint64) { m[next] = next; next++ }

//go:noinline
func update(m map[uint64]uint64) { m[1] = m[1] + 1 }

//go:noinline
func lookup(m map[uint64]uint64) { sum += m[1] }

//go:noinline
func find(m map[uint64]uint64) { sum += m[wanted] }

//go:noinline
func remove(m map[uint64]uint64) { next--; delete(m, next) }

func main() {
	debug.SetGCPercent(-1)
	in := bufio.NewReader(os.Stdin)
	fmt.Printf("ready %x\n", **(**uintptr)(unsafe.Pointer(&[]*map[uint64]uint64{&sessions}[0])))
	for {
		var what string
		var which string
		var number int
		if _, err := fmt.Fscanln(in, &what, &which, &number); err != nil {
			return
		}
		m := sessions
		switch what {
		case "crash":
			m = nil
			m[1] = 1
		case "exec":
			syscall.Exec("/bin/echo", []string{"echo", "another", "program"}, nil)
		}
		switch which {
		case "small":
			m = small
		case "field":
			m = front.cache.sessions
		case "wanted":
			wanted = uint64(number)
		case "late":
			late = map[string]int{}
			for i := 0; i < number; i++ {
				late["key"]++
			}
		}
		work := map[string]func(map[uint64]uint64){"insert": insert, "update": update, "lookup": lookup, "find": find, "delete": remove}[what]
		done := 0
		var turn sync.Mutex
		var both sync.WaitGroup
		for t := 0; t < 2; t++ {
			both.Add(1)
			go func() {
				runtime.LockOSThread()
				defer both.Done()
				for {
					turn.Lock()
					if done == number || work == nil {
						turn.Unlock()
						return
					}
					work(m)
					done++
					turn.Unlock()
				}
			}()
		}
		both.Wait()
		fmt.Println("did", done)
	}
}
