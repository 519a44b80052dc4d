// A program in which two threads use one map: told `locked 40`, one writes and one reads it 40 times
// under an RWMutex, and it prints what it did; told `race 0`, both write without a lock until Go's
// runtime ends the program.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

var (
	shared = map[uint64]uint64{1: 1}
	lock   sync.RWMutex
	sum    uint64
)

//go:noinline
func write(m map[uint64]uint64, i int) { m[1] = uint64(i) }

//go:noinline
func read(m map[uint64]uint64) { sum += m[1] }

func main() {
	debug.SetGCPercent(-1)
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	for {
		var what string
		var number int
		if _, err := fmt.Fscanln(in, &what, &number); err != nil {
			return
		}
		var both sync.WaitGroup
		for t := 0; t < 2; t++ {
			both.Add(1)
			go func(t int) {
				runtime.LockOSThread()
				defer both.Done()
				for i := 0; what == "race" || i < number; i++ {
					switch {
					case what == "race":
						write(shared, i)
					case t == 0:
						lock.Lock()
						write(shared, i)
						lock.Unlock()
					default:
						lock.RLock()
						read(shared)
						lock.RUnlock()
					}
				}
			}(t)
		}
		both.Wait()
		fmt.Println("did", number)
	}
}
