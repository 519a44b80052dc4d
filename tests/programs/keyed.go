// A map with one key, which is compared by assembly without a frame. Prints where the map's header
// and that key are; a line on standard input begins 200 rounds of assign, access and delete.
package main

import (
	"bufio"
	"fmt"
	"os"
	"unsafe"
)

type key [40]byte

//go:noinline
func store(m map[key]uint64, k key, elem uint64) { m[k] = elem }

//go:noinline
func round(m map[key]uint64, k key, elem uint64) uint64 {
	store(m, k, elem)
	elem = m[k]
	delete(m, k)
	return elem
}

func main() {
	m := make(map[key]uint64)
	k := key{1, 2, 3}
	store(m, k, 0)
	header := *(*unsafe.Pointer)(unsafe.Pointer(&m))
	// The bucket or group: of both kinds of maps the third word.
	bucket := *(*uintptr)(unsafe.Add(header, 16))
	fmt.Printf("%p %#x\n", header, bucket+8)
	bufio.NewReader(os.Stdin).ReadString('\n')
	sum := uint64(0)
	for i := uint64(0); i < 200; i++ {
		sum += round(m, k, i)
	}
	fmt.Println(sum, len(m))
}
