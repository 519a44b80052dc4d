// Keeps maps of many kinds alive and prints the address, type and length of each. tests/heap_live.rs
// compares what mempath finds in its memory.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"
)

type point struct{ x, y, z float64 }

type shard struct {
	mu    sync.Mutex
	byKey map[string]*point
}

type cache struct {
	shards [4]shard
	any    interface{}
	nested map[uint32]map[int64]string
}

// No value of these types is ever converted to an interface: they have no descriptor.
type table struct {
	rows [2]map[uint8]uint16
}

type server struct {
	name     string
	sessions map[string]int64
	tables   *table
}

var (
	front   server
	back    = &server{}
	numbers = map[uint64]uint64{}
	points  = map[int32]point{}
	large   = map[[20]uint64][200]byte{}
	flags   = map[string]bool{}
	empty   = map[string]int{}
	store   *cache
)

func show(name string, typ string, m *unsafe.Pointer, n int) {
	fmt.Printf("%s|%s|%x|%d\n", name, typ, uintptr(*m), n)
}

func main() {
	for i := uint64(0); i < 5000; i++ {
		numbers[i] = i
		points[int32(i)] = point{x: float64(i)}
		if i%3 == 0 {
			delete(numbers, i/2)
		}
		if i < 300 {
			large[[20]uint64{i}] = [200]byte{byte(i)}
		}
	}
	flags["one"] = true
	store = &cache{any: map[int16]int16{1: 2, 3: 4}, nested: map[uint32]map[int64]string{}}
	for i := range store.shards {
		store.shards[i].byKey = map[string]*point{}
		for j := 0; j < 100*(i+1); j++ {
			store.shards[i].byKey[fmt.Sprint(j)] = &point{}
		}
	}
	for i := uint32(0); i < 20; i++ {
		store.nested[i] = map[int64]string{int64(i): "x"}
	}
	for i, of := range []*server{&front, back} {
		of.sessions = map[string]int64{"a": 1, "b": 2}
		of.tables = &table{}
		for row := range of.tables.rows {
			of.tables.rows[row] = map[uint8]uint16{uint8(i): 1, 7: uint16(row), 9: 3}
		}
	}
	runtime.GC()
	show("main.numbers", "map[uint64]uint64", (*unsafe.Pointer)(unsafe.Pointer(&numbers)), len(numbers))
	show("main.points", "map[int32]main.point", (*unsafe.Pointer)(unsafe.Pointer(&points)), len(points))
	show("main.large", "map[[20]uint64][200]uint8", (*unsafe.Pointer)(unsafe.Pointer(&large)), len(large))
	show("main.flags", "map[string]bool", (*unsafe.Pointer)(unsafe.Pointer(&flags)), len(flags))
	for i, of := range []*server{&front, back} {
		name := []string{"main.front", "main.back"}[i]
		show(name+".sessions", "map[string]int64", (*unsafe.Pointer)(unsafe.Pointer(&of.sessions)), len(of.sessions))
		for row := range of.tables.rows {
			m := &of.tables.rows[row]
			show(fmt.Sprintf("%s.tables.rows[%d]", name, row), "map[uint8]uint16", (*unsafe.Pointer)(unsafe.Pointer(m)), len(*m))
		}
	}
	for i := range store.shards {
		m := &store.shards[i].byKey
		show(fmt.Sprintf("main.store.shards[%d].byKey", i), "map[string]*main.point", (*unsafe.Pointer)(unsafe.Pointer(m)), len(*m))
	}
	show("main.store.nested", "map[uint32]map[int64]string", (*unsafe.Pointer)(unsafe.Pointer(&store.nested)), len(store.nested))
	for i := range store.nested {
		m := store.nested[i]
		show("", "map[int64]string", (*unsafe.Pointer)(unsafe.Pointer(&m)), len(m))
	}
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	fmt.Println(len(numbers), len(points), len(large), len(flags), len(empty), store, front.name, back.name)
}
