// A program that works on maps on several threads, with a collector, signals, goroutine switches and
// child processes, and whose output depends on every one of its steps.
//
//	steady ROUNDS [forever]
package main

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"sync"
	"syscall"
)

type session struct {
	id   int
	name string
	next *session
}

var (
	orders  = map[uint64]uint64{}
	users   = map[string]*session{}
	lock    sync.Mutex
	signals int
)

//go:noinline
func place(k uint64) { orders[k*7919] += k }

//go:noinline
func enter(i int) { users["user-"+strconv.Itoa(i)] = &session{id: i} }

//go:noinline
func find(i int) int {
	if u := users["user-"+strconv.Itoa(i)]; u != nil {
		return u.id
	}
	return 0
}

func work(g, rounds int) (sum int) {
	for i := 0; i < rounds; i++ {
		lock.Lock()
		place(uint64(i*4 + g))
		enter(i % 500)
		sum += find(i % 700)
		if i%3 == 0 {
			delete(orders, uint64(i*4+g)*7919)
		}
		if i%1000 == 0 {
			for k := range orders {
				sum += int(k & 1)
			}
		}
		lock.Unlock()
		if i%50 == 0 {
			runtime.Gosched()
		}
	}
	return
}

func main() {
	rounds, _ := strconv.Atoi(os.Args[1])
	caught := make(chan os.Signal, 16)
	signal.Notify(caught, syscall.SIGUSR1)
	go func() {
		for range caught {
			signals++
		}
	}()
	for {
		var all sync.WaitGroup
		sums := make([]int, 4)
		for g := range sums {
			g := g
			all.Add(1)
			go func() { sums[g] = work(g, rounds); all.Done() }()
		}
		out, err := exec.Command("/bin/echo", "child").Output()
		all.Wait()
		runtime.GC()
		total := 0
		for _, s := range sums {
			total += s
		}
		fmt.Println(len(orders), len(users), string(out[:5]), err)
		// The sums of ranges depend on when a goroutine runs; those of the maps do not.
		var keys, ids uint64
		for k, v := range orders {
			keys += k * v
		}
		for _, u := range users {
			ids += uint64(u.id)
		}
		fmt.Println(keys, ids)
		if len(os.Args) < 3 {
			return
		}
	}
}
