package main

import (
	"reflect"
	"sort"
	"strconv"
	"unsafe"
)

// field is a piece of a map's structure, as the runtime names it.
type field struct {
	part string
	off  uintptr // from the structure's base
	size uintptr
	slot int // 0 to 7 for tophash, ctrl, key and elem; else -1
}

// mapType begins as abi.MapType, abi.SwissMapType and runtime.maptype all do: the type itself in
// 48 bytes, then the key's and the elem's. tail is where they begin to differ.
type mapType struct {
	size uintptr
	_    [40]byte
	key  *mapType
	elem *mapType
	_    [16]byte
	tail [64]byte
}

type eface struct {
	typ  *mapType
	data unsafe.Pointer
}

// inline is the size of what a slot holds of a key or elem: a pointer in place of over 128 bytes.
func inline(t *mapType) uintptr {
	if t.size > 128 {
		return 8
	}
	return t.size
}

func load(p unsafe.Pointer, off uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Add(p, off))
}

// printStructure prints one line for each aligned 8-byte word of the structure that lies at base:
//
//	{"map":"orders","type":"map[uint64]uint64","header":"0xc000012345","base":"0x...","index":3,"depth":0,
//	 "word":"bmap.key[2]","addr":"0x...","watched":8,"parts":[{"part":"bmap.key","slot":2,"off":24,"size":8}]}
//
// index is the bucket's, the group's or the directory entry's, depth the place in an overflow chain;
// both 0 elsewhere. A word is named after the first part in it; parts lists all. Parts of 1, 2 and 4
// bytes get a line of their own as well: "hmap.B/1", with as many bytes to watch.
func printStructure(s *subject, base unsafe.Pointer, index, depth int, fields []field) {
	header := (*eface)(unsafe.Pointer(&s.m)).data
	size := fields[len(fields)-1].off + fields[len(fields)-1].size
	line := func(name string, off, watched uintptr, parts string) {
		if depth > 0 {
			name = "overflow." + name
		}
		print1(`{"map":"` + s.name + `","type":"` + reflect.TypeOf(s.m).String() +
			`","header":"` + hex(header) + `","base":"` + hex(base) +
			`","index":` + strconv.Itoa(index) + `,"depth":` + strconv.Itoa(depth) +
			`,"word":"` + name + `","addr":"` + hex(unsafe.Add(base, off)) +
			`","watched":` + strconv.Itoa(int(watched)) + `,"parts":[` + parts + `]}`)
	}
	for off := uintptr(0); off < size; off += 8 {
		name, parts := "", ""
		for _, f := range fields {
			if f.off >= off+8 || f.off+f.size <= off {
				continue
			}
			part := `{"part":"` + f.part + `","slot":` + strconv.Itoa(f.slot) +
				`,"off":` + strconv.Itoa(int(f.off)) + `,"size":` + strconv.Itoa(int(f.size)) + `}`
			own := f.part
			if f.slot >= 0 {
				own += "[" + strconv.Itoa(f.slot) + "]"
			}
			if f.size == 1 || f.size == 2 || f.size == 4 {
				line(own+"/"+strconv.Itoa(int(f.size)), f.off, f.size, part)
			}
			if name == "" {
				name = f.part
				if f.slot >= 0 && f.off >= 8 { // not tophash or ctrl: all eight are one word
					name = own
				}
				if f.off < off {
					name += "+" + strconv.Itoa(int(off-f.off))
				}
			} else {
				parts += ","
			}
			parts += part
		}
		if name != "" {
			line(name, off, 8, parts)
		}
	}
}

func hex(p unsafe.Pointer) string { return "0x" + strconv.FormatUint(uint64(uintptr(p)), 16) }

// slots returns the fields of eight slots, in the order of their offsets: 8 bytes of tophash or
// ctrl, then keys and elems, interleaved or not.
func slots(structure, control string, key, keyStride, keySize, elem, elemStride, elemSize uintptr) []field {
	var fields []field
	for i := 0; i < 8; i++ {
		n := uintptr(i)
		fields = append(fields,
			field{structure + "." + control, n, 1, i},
			field{structure + ".key", key + n*keyStride, keySize, i},
			field{structure + ".elem", elem + n*elemStride, elemSize, i})
	}
	sort.Slice(fields, func(a, b int) bool { return fields[a].off < fields[b].off })
	return fields
}

// printIndirect prints the words of a key or elem that lies outside of its slot.
func printIndirect(s *subject, t *mapType, part string, slot unsafe.Pointer, i int) {
	if t.size > 128 {
		printStructure(s, load(slot, 0), 0, 0, []field{{part, 0, t.size, i}})
	}
}
