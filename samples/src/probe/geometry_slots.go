//go:build go1.24 && !go1.27 && (go1.26 || goexperiment.swissmap)

package main

import "unsafe"

// geometry reads SlotSize and ElemOff of the map type; slots begin after the 8 ctrl bytes.
func geometry(t *mapType) (keysOff, keyStride, elemsOff, elemStride uintptr) {
	slot := *(*uintptr)(unsafe.Pointer(&t.tail[8]))
	return 8, slot, 8 + *(*uintptr)(unsafe.Pointer(&t.tail[16])), slot
}
