//go:build go1.27

package main

import "unsafe"

// geometry reads KeysOff, KeyStride, ElemsOff and ElemStride of the map type, which describe
// interleaved and split groups (GOEXPERIMENT=mapsplitgroup) alike.
func geometry(t *mapType) (keysOff, keyStride, elemsOff, elemStride uintptr) {
	g := *(*[4]uintptr)(unsafe.Pointer(&t.tail[8]))
	return g[0], g[1], g[2], g[3]
}
