//go:build !go1.24

package main

const hmapExtra = 40

var hmapFields = []field{
	{"hmap.count", 0, 8, -1}, {"hmap.flags", 8, 1, -1}, {"hmap.B", 9, 1, -1}, {"hmap.noverflow", 10, 2, -1},
	{"hmap.hash0", 12, 4, -1}, {"hmap.buckets", 16, 8, -1}, {"hmap.oldbuckets", 24, 8, -1},
	{"hmap.nevacuate", 32, 8, -1}, {"hmap.extra", 40, 8, -1},
}
