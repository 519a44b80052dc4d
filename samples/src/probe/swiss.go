//go:build go1.26 || (go1.24 && goexperiment.swissmap)

package main

import "unsafe"

// printWords prints the words of a Swiss map: Map, its directory, its first table, the first group
// of that table with at least two full slots, and what the group's first full slot points to.
func printWords(s *subject) {
	e := (*eface)(unsafe.Pointer(&s.m))
	m, t := e.data, e.typ
	printStructure(s, m, 0, 0, mapFields)
	groupSize := *(*uintptr)(unsafe.Pointer(&t.tail[0]))
	group, groups := load(m, 16), 1
	if dirLen := *(*int)(unsafe.Add(m, 24)); dirLen > 0 {
		directory := load(m, 16)
		printStructure(s, directory, 0, 0, []field{{"directory.table_ptr", 0, 8, -1}})
		table := load(directory, 0)
		printStructure(s, table, 0, 0, []field{
			{"table.used", 0, 2, -1}, {"table.capacity", 2, 2, -1}, {"table.growthLeft", 4, 2, -1},
			{"table.localDepth", 6, 1, -1}, {"table.index", 8, 8, -1},
			{"table.groups.data", 16, 8, -1}, {"table.groups.lengthMask", 24, 8, -1}})
		group, groups = load(table, 16), 1+*(*int)(unsafe.Add(table, 24))
	}
	if group == nil {
		return
	}
	keysOff, keyStride, elemsOff, elemStride := geometry(t)
	for i := 0; i < groups; i++ {
		g := unsafe.Add(group, uintptr(i)*groupSize)
		full, slot := 0, 0
		for j := 7; j >= 0; j-- {
			if *(*uint8)(unsafe.Add(g, j)) < 0x80 {
				full, slot = full+1, j
			}
		}
		if full < 2 {
			continue
		}
		printStructure(s, g, i, 0, slots("group", "ctrl",
			keysOff, keyStride, inline(t.key), elemsOff, elemStride, inline(t.elem)))
		printIndirect(s, t.key, "indirect_key.key", unsafe.Add(g, keysOff+uintptr(slot)*keyStride), slot)
		printIndirect(s, t.elem, "indirect_elem.elem", unsafe.Add(g, elemsOff+uintptr(slot)*elemStride), slot)
		return
	}
}

var mapFields = []field{
	{"Map.used", 0, 8, -1}, {"Map.seed", 8, 8, -1}, {"Map.dirPtr", 16, 8, -1}, {"Map.dirLen", 24, 8, -1},
	{"Map.globalDepth", 32, 1, -1}, {"Map.globalShift", 33, 1, -1}, {"Map.writing", 34, 1, -1},
	{"Map.tombstonePossible", 35, 1, -1}, {"Map.clearSeq", 40, 8, -1},
}
