// A program in which goroutines that move between threads use one map under an RWMutex: told `use 20`,
// eight of them write 20 new entries each, look one up after each and delete every third of them again,
// while the map grows and the collector runs all the time. It prints how many it was told.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
)

const workers = 8

var (
	shared = map[uint64]*[20]uint64{}
	lock   sync.RWMutex
	junk   [workers][]byte
)

//go:noinline
func write(key uint64) {
	lock.Lock()
	defer lock.Unlock()
	shared[key] = new([20]uint64)
}

//go:noinline
func read(key uint64) bool {
	lock.RLock()
	defer lock.RUnlock()
	return shared[key] != nil
}

//go:noinline
func remove(key uint64) {
	lock.Lock()
	defer lock.Unlock()
	delete(shared, key)
}

func main() {
	debug.SetGCPercent(5)
	runtime.GOMAXPROCS(4)
	in := bufio.NewReader(os.Stdin)
	fmt.Println("ready")
	for {
		var number int
		if _, err := fmt.Fscanf(in, "use %d\n", &number); err != nil {
			return
		}
		var all sync.WaitGroup
		for w := 0; w < workers; w++ {
			all.Add(1)
			go func(w int) {
				defer all.Done()
				for i := 0; i < number; i++ {
					key := uint64(w*number + i)
					write(key)
					junk[w] = make([]byte, 100_000)
					read(key / 2)
					if i%3 == 0 {
						remove(key)
					}
				}
			}(w)
		}
		all.Wait()
		fmt.Println("did", number)
	}
}
