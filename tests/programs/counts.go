// A program whose accesses are known: after a newline on standard input each goroutine, on a thread
// of its own, writes and reads its share of the words, and says how often.
//
//	counts THREADS ROUNDS
package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
)

var words [64]uint64

var sum uint64

//go:noinline
func store(p *uint64, v uint64) { *p = v }

//go:noinline
func load(p *uint64) uint64 { return *p }

func main() {
	threads, _ := strconv.Atoi(os.Args[1])
	rounds, _ := strconv.Atoi(os.Args[2])
	in := bufio.NewReader(os.Stdin)
	begin := make([]chan bool, threads)
	var done sync.WaitGroup
	var turn sync.Mutex
	for t := range begin {
		begin[t] = make(chan bool)
		go func(t int) {
			runtime.LockOSThread()
			for range begin[t] {
				for i := 0; i < rounds; i++ {
					store(&words[0], uint64(i))
					s := load(&words[0])
					store(&words[8], s)
					turn.Lock()
					sum += s
					turn.Unlock()
				}
				done.Done()
			}
		}(t)
	}
	fmt.Printf("words %x\n", &words[0])
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch line {
		case "child\n":
			// Inherited by a program that this one starts.
			exec.Command("/bin/true").Run()
		case "crash\n":
			var none *uint64
			store(none, 1)
		default:
			done.Add(threads)
			for t := range begin {
				begin[t] <- true
			}
			done.Wait()
		}
		fmt.Println("done")
	}
}
