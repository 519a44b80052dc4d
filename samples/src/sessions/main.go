// sessions works like a small server: each thread looks up sessions, renews some and lets old ones go,
// and all of them count in one map. It does a fixed number of operations and says how long it took.
//
//	sessions OPERATIONS THREADS
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"time"
)

type session struct {
	user  uint64
	hits  uint64
	until uint64
}

type cache struct {
	lock     sync.Mutex
	sessions map[uint64]*session
	// How often each kind of thing happened: few entries, written all the time.
	counters map[string]int
}

var shared = cache{sessions: map[uint64]*session{}, counters: map[string]int{}}

// A few of the users come again and again.
func user(n uint64) uint64 {
	n = n * 0x9e3779b97f4a7c15 >> 40
	if n%4 != 0 {
		n %= 64
	}
	return n % 20000
}

//go:noinline
func (c *cache) serve(n uint64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	u := user(n)
	s := c.sessions[u]
	if s == nil {
		s = &session{user: u}
		c.sessions[u] = s
		c.counters["new"]++
	}
	s.hits++
	s.until = n + 1000
	c.counters["served"]++
	if n%64 == 0 {
		if old := c.sessions[user(n/2)]; old != nil && old.until < n {
			delete(c.sessions, old.user)
			c.counters["gone"]++
		}
	}
}

func main() {
	operations, threads := 1000000, 2
	if len(os.Args) == 3 {
		operations, _ = strconv.Atoi(os.Args[1])
		threads, _ = strconv.Atoi(os.Args[2])
	}
	// Time to find the maps in.
	time.Sleep(time.Second)
	begin := time.Now()
	var all sync.WaitGroup
	for t := 0; t < threads; t++ {
		t := t
		all.Add(1)
		go func() {
			runtime.LockOSThread()
			for n := t; n < operations; n += threads {
				shared.serve(uint64(n))
			}
			all.Done()
		}()
	}
	all.Wait()
	fmt.Printf("%d operations in %.3f s\n", shared.counters["served"], time.Since(begin).Seconds())
}
