//go:build !go1.24 || (!go1.26 && !goexperiment.swissmap)

package main

import "unsafe"

// printWords prints the words of a classic map: hmap, mapextra, the first bucket with at least two
// live slots (one with an overflow bucket where there is one), that overflow bucket, and what the
// bucket's first live slot points to.
func printWords(s *subject) {
	e := (*eface)(unsafe.Pointer(&s.m))
	h, t := e.data, e.typ
	printStructure(s, h, 0, 0, hmapFields)
	if extra := load(h, hmapExtra); extra != nil {
		printStructure(s, extra, 0, 0, []field{
			{"extra.overflow", 0, 8, -1}, {"extra.oldoverflow", 8, 8, -1}, {"extra.nextOverflow", 16, 8, -1}})
	}

	keySize, elemSize := inline(t.key), inline(t.elem)
	bucketSize := uintptr(*(*uint16)(unsafe.Pointer(&t.tail[2]))) // maptype.BucketSize
	fields := append(
		slots("bmap", "tophash", 8, keySize, keySize, 8+8*keySize, elemSize, elemSize),
		field{"bmap.overflow", bucketSize - 8, 8, -1})
	buckets := load(h, 16)
	var bucket, overflow unsafe.Pointer
	index, slot := 0, 0
	for i := 0; i < 1<<*(*uint8)(unsafe.Add(h, 9)) && overflow == nil; i++ {
		b := unsafe.Add(buckets, uintptr(i)*bucketSize)
		live, last := 0, 0
		for j := 7; j >= 0; j-- {
			if *(*uint8)(unsafe.Add(b, j)) >= 5 { // minTopHash
				live, last = live+1, j
			}
		}
		o := load(b, bucketSize-8)
		if live >= 2 && (bucket == nil || o != nil) {
			bucket, overflow, index, slot = b, o, i, last
		}
	}
	if bucket == nil {
		return
	}
	printStructure(s, bucket, index, 0, fields)
	if overflow != nil {
		printStructure(s, overflow, index, 1, fields)
	}
	printIndirect(s, t.key, "indirect_key.key", unsafe.Add(bucket, 8+uintptr(slot)*keySize), slot)
	printIndirect(s, t.elem, "indirect_elem.elem", unsafe.Add(bucket, 8+8*keySize+uintptr(slot)*elemSize), slot)
}
