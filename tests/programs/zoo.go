// zoo has maps of many shapes and lives, and says where their memory lies: `tests/zoo` judges by it.
//
//	zoo FILE ROUNDS gc|nogc PHASE...
//
// After each operation that moved or enlarged a map it notes, in memory, every region of that map and
// the time (CLOCK_MONOTONIC); all of it goes to FILE at the end. Lines:
//
//	M id name type header keys stride size elems stride size bucket   a map and its layout, hexadecimal
//	S time id                        its regions from here on, an R line each
//	R kind base stride count index   hexadecimal
//	D time id                        the map is no more
package main

import (
	"os"
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"
)

type mapType struct {
	size uintptr
	_    [40]byte
	key  *mapType
	elem *mapType
	_    [16]byte
	tail [64]byte
}

type eface struct{ typ, data uintptr }

var (
	swiss = isSwiss()
	hextr = hmapExtra()
	log   struct {
		sync.Mutex
		buf []byte
		n   int
	}
)

func minor() int {
	v := strings.TrimPrefix(runtime.Version(), "go1.")
	n := 0
	for i := 0; i < len(v) && v[i] >= '0' && v[i] <= '9'; i++ {
		n = 10*n + int(v[i]-'0')
	}
	return n
}

func isSwiss() bool { return minor() >= 24 && !strings.Contains(runtime.Version(), "noswissmap") }

func hmapExtra() uintptr {
	if minor() >= 24 {
		return 48
	}
	return 40
}

func now() uint64 {
	var ts [2]uint64
	syscall.RawSyscall(228, 1, uintptr(unsafe.Pointer(&ts)), 0)
	return ts[0]*1e9 + ts[1]
}

func ld(p uintptr) uintptr { return *(*uintptr)(unsafe.Pointer(p)) }
func l8(p uintptr) uint8   { return *(*uint8)(unsafe.Pointer(p)) }

// box is one map that is followed.
type box struct {
	id     int
	header uintptr
	t      *mapType
	print  [8]uintptr
	// Of keys or elems that lie outside of their slots.
	indirect bool
	keep     any
}

func word(v uint64) {
	log.buf = append(log.buf, ' ')
	log.buf = strconv.AppendUint(log.buf, v, 16)
}

func inline(t *mapType) uintptr {
	if t.size > 128 {
		return 8
	}
	return t.size
}

// follow begins to follow a map. It is kept alive unless it is on a stack.
func follow(name string, m any) *box {
	b := new(box)
	b.keep = m
	b.start(name, reflect.TypeOf(m).String(), of(m))
	return b
}

func of(m any) eface { return *(*eface)(unsafe.Pointer(&m)) }

// start does so with a box that may be on the stack, as the map may be.
func (b *box) start(name, typ string, e eface) {
	b.header, b.t = e.data, *(**mapType)(unsafe.Pointer(&e.typ))
	b.indirect = b.t.key.size > 128 || b.t.elem.size > 128
	log.Lock()
	log.n++
	b.id = log.n
	log.buf = append(log.buf, "M "...)
	log.buf = strconv.AppendInt(log.buf, int64(b.id), 10)
	log.buf = append(log.buf, ' ')
	log.buf = append(log.buf, strings.ReplaceAll(name, " ", "_")...)
	log.buf = append(log.buf, ' ')
	log.buf = append(log.buf, strings.ReplaceAll(typ, " ", "_")...)
	word(uint64(b.header))
	keysOff, keyStride, elemsOff, elemStride, stride := b.geometry()
	for _, v := range []uintptr{keysOff, keyStride, b.t.key.size, elemsOff, elemStride, b.t.elem.size, stride} {
		word(uint64(v))
	}
	log.buf = append(log.buf, '\n')
	log.Unlock()
	b.print[0] = ^uintptr(0)
	b.check()
}

func (b *box) geometry() (keysOff, keyStride, elemsOff, elemStride, stride uintptr) {
	w := func(i int) uintptr { return *(*uintptr)(unsafe.Pointer(&b.t.tail[i])) }
	ks, es := inline(b.t.key), inline(b.t.elem)
	switch {
	case !swiss:
		return 8, ks, 8 + 8*ks, es, uintptr(*(*uint16)(unsafe.Pointer(&b.t.tail[2])))
	case minor() >= 27:
		return w(8), w(16), w(24), w(32), w(0)
	}
	return 8, w(8), 8 + w(16), w(8), w(0)
}

func (b *box) region(kind string, base, stride, count, index uintptr) {
	log.buf = append(log.buf, "R "...)
	log.buf = append(log.buf, kind...)
	word(uint64(base))
	word(uint64(stride))
	word(uint64(count))
	word(uint64(index))
	log.buf = append(log.buf, '\n')
}

func (b *box) end() {
	log.Lock()
	log.buf = append(log.buf, "D "...)
	log.buf = strconv.AppendUint(log.buf, now(), 10)
	log.buf = append(log.buf, ' ')
	log.buf = strconv.AppendInt(log.buf, int64(b.id), 10)
	log.buf = append(log.buf, '\n')
	log.Unlock()
}

// check notes the map's regions, where they are not those of before.
func (b *box) check() {
	h := b.header
	var f [8]uintptr
	if swiss {
		f = [8]uintptr{ld(h + 16), ld(h + 24)}
		n := f[1]
		for i := uintptr(0); i < n; i++ {
			t := ld(f[0] + 8*i)
			f[2] = f[2]*31 + t
			f[3] = f[3]*31 + ld(t+16)
		}
	} else {
		f = [8]uintptr{ld(h + 16), ld(h + 24), uintptr(*(*uint16)(unsafe.Pointer(h + 10))), ld(h + hextr)}
		if f[3] != 0 {
			f[4] = ld(f[3] + 16)
		}
		if f[1] != 0 {
			f[5] = ld(h + 32)
		}
	}
	if b.indirect {
		f[7] = ld(h)
	}
	if f == b.print {
		return
	}
	b.print = f
	log.Lock()
	log.buf = append(log.buf, "S "...)
	log.buf = strconv.AppendUint(log.buf, now(), 10)
	log.buf = append(log.buf, ' ')
	log.buf = strconv.AppendInt(log.buf, int64(b.id), 10)
	log.buf = append(log.buf, '\n')
	if swiss {
		b.swiss()
	} else {
		b.classic()
	}
	log.Unlock()
}

func (b *box) swiss() {
	h := b.header
	_, _, _, _, stride := b.geometry()
	b.region("Map", h, 48, 1, 0)
	dir, n := ld(h+16), ld(h+24)
	if n == 0 {
		if dir != 0 {
			b.groups("group", dir, stride, 1, 0)
		}
		return
	}
	b.region("directory", dir, 8, n, 0)
	var last uintptr
	for i := uintptr(0); i < n; i++ {
		t := ld(dir + 8*i)
		if t == last {
			continue
		}
		last = t
		b.region("table", t, 32, 1, i)
		b.groups("group", ld(t+16), stride, ld(t+24)+1, i)
	}
}

func (b *box) groups(kind string, base, stride, count, index uintptr) {
	b.region(kind, base, stride, count, index)
	if !b.indirect {
		return
	}
	for g := uintptr(0); g < count; g++ {
		for i := uintptr(0); i < 8; i++ {
			if c := l8(base + g*stride + i); swiss && c < 0x80 || !swiss && c >= 5 {
				b.slot(base+g*stride, i)
			}
		}
	}
}

func (b *box) slot(group, i uintptr) {
	keysOff, keyStride, elemsOff, elemStride, _ := b.geometry()
	if b.t.key.size > 128 {
		b.region("indirect_key", ld(group+keysOff+i*keyStride), b.t.key.size, 1, i)
	}
	if b.t.elem.size > 128 {
		b.region("indirect_elem", ld(group+elemsOff+i*elemStride), b.t.elem.size, 1, i)
	}
}

func (b *box) classic() {
	h := b.header
	_, _, _, _, stride := b.geometry()
	b.region("hmap", h, hextr+8, 1, 0)
	extra := ld(h + hextr)
	if extra != 0 {
		b.region("extra", extra, 24, 1, 0)
	}
	bits := uint(l8(h + 9))
	n := uintptr(1) << bits
	b.chains(ld(h+16), n, stride)
	if old := ld(h + 24); old != 0 {
		if l8(h+8)&8 == 0 { // not sameSizeGrow
			n >>= 1
		}
		b.chains(old, n, stride)
	}
}

func (b *box) chains(base, n, stride uintptr) {
	if base == 0 {
		return
	}
	b.groups("bmap", base, stride, n, 0)
	for i := uintptr(0); i < n; i++ {
		depth := uintptr(0)
		for o := ld(base + i*stride + stride - 8); o != 0 && depth < 1000; o = ld(o + stride - 8) {
			depth++
			b.groups("bmap", o, stride, 1, i)
		}
	}
	if b.header != 0 && !swiss && base == ld(b.header+16) && ld(b.header+hextr) != 0 && ld(ld(b.header+hextr)+16) != 0 {
		// Buckets allocated with the array for overflow, up to the sentinel.
		k := n
		for ; k < 2*n && ld(base+k*stride+stride-8) != base; k++ {
		}
		b.region("bmap", base+n*stride, stride, k+1-n, n)
	}
}

// ---- what the program does

type rng uint64

func (r *rng) next() uint64 {
	x := uint64(*r)
	x ^= x << 13
	x ^= x >> 7
	x ^= x << 17
	*r = rng(x)
	return x
}
func (r *rng) n(n int) int { return int(r.next() % uint64(n)) }

type session struct {
	id    int
	name  string
	attrs map[string]string
}

type shard struct {
	mu       sync.RWMutex
	sessions map[string]*session
	hits     map[uint64]uint64
	seen     map[string]struct{}
	b        [3]*box
}

type cache struct{ shards []shard }

func newCache(n int) *cache {
	c := &cache{shards: make([]shard, n)}
	for i := range c.shards {
		s := &c.shards[i]
		s.sessions = map[string]*session{}
		s.hits = make(map[uint64]uint64, 10*i)
		s.seen = make(map[string]struct{})
		s.b[0] = follow("shard.sessions", s.sessions)
		s.b[1] = follow("shard.hits", s.hits)
		s.b[2] = follow("shard.seen", s.seen)
	}
	return c
}

func (c *cache) get(k int) int {
	s := &c.shards[k%len(c.shards)]
	name := "user" + strconv.Itoa(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.seen[name]; !ok {
		return 0
	}
	if x, ok := s.sessions[name]; ok {
		return x.id
	}
	return -1
}

func (c *cache) put(k int) {
	s := &c.shards[k%len(c.shards)]
	name := "user" + strconv.Itoa(k)
	s.mu.Lock()
	s.sessions[name] = &session{id: k, name: name}
	s.seen[name] = struct{}{}
	s.hits[uint64(k)]++
	s.check()
	s.mu.Unlock()
}

func (c *cache) drop(k int) {
	s := &c.shards[k%len(c.shards)]
	name := "user" + strconv.Itoa(k)
	s.mu.Lock()
	delete(s.sessions, name)
	delete(s.seen, name)
	delete(s.hits, uint64(k))
	s.check()
	s.mu.Unlock()
}

func (s *shard) check() {
	for _, b := range s.b {
		b.check()
	}
}

func (c *cache) total() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		for k, v := range s.sessions {
			n += len(k) + v.id
		}
		for _, v := range s.hits {
			n += int(v)
		}
		for k := range s.seen {
			n += len(k)
		}
		s.check()
		s.mu.RUnlock()
	}
	return n
}

func cachePhase(rounds int) int {
	c := newCache(6)
	var wg sync.WaitGroup
	for g := 0; g < 3; g++ {
		g := g
		wg.Add(1)
		go func() {
			runtime.LockOSThread()
			r := rng(7 + g)
			for i := 0; i < rounds*8; i++ {
				k := r.n(rounds)
				switch r.n(8) {
				case 0, 1, 2:
					c.put(k)
				case 3:
					c.drop(k)
				default:
					c.get(k)
				}
			}
			wg.Done()
		}()
	}
	wg.Wait()
	return c.total()
}

// nested: maps of maps, of which the inner ones come and go.
func nestedPhase(rounds int) (n int) {
	outer := map[string]map[int]float64{}
	ob := follow("nested.outer", outer)
	inner := map[string]*box{}
	ib := follow("nested.boxes", inner)
	r := rng(11)
	for i := 0; i < rounds*10; i++ {
		k := "k" + strconv.Itoa(r.n(40))
		m, ok := outer[k]
		if !ok {
			m = make(map[int]float64)
			outer[k] = m
			ob.check()
			inner[k] = follow("nested.inner", m)
			ib.check()
		}
		m[r.n(60)] += 1.5
		inner[k].check()
		if r.n(50) == 0 {
			delete(outer, k)
			inner[k].end()
			ob.check()
		}
		for _, m := range outer {
			n += len(m)
			break
		}
		ob.check()
	}
	for k, m := range outer {
		for a, b := range m {
			n += a + int(b) + len(k)
		}
		inner[k].check()
	}
	ob.check()
	return n
}

type vec struct{ x, y, z float32 }
type pair struct{ a, b int32 }
type node struct{ v int }
type big [200]byte
type bigKey [160]byte
type mid struct {
	a    uint64
	name string
	list []int
	b    [40]byte
}

type odd struct {
	a uint32
	b uint8
}

var (
	setA   = map[[16]byte]struct{}{}
	setB   = map[string]struct{}{}
	anyM   = map[any]int{}
	lists  = map[string][]byte{}
	bigM   = map[uint64]big{}
	bigK   = map[bigKey]int{}
	bigB   = map[bigKey]big{}
	ptrs   = map[*node]int{}
	chans  = map[chan int]string{}
	floats = map[float64]int{}
	small  = map[int32]int16{}
	words  = map[uint16]string{}
	bools  = map[bool]int{}
	pairs  = map[pair]vec{}
	mids   = map[int]mid{}
	midS   = map[string]mid{}
	bytesM = map[uint8]uint8{}
	odds   = map[odd]odd{}
	arrs   = map[int][15]uint64{}
	errsM  = map[string]error{}
	funcs  = map[int]func(int) int{}
	cplx   = map[complex128]bool{}
	empty  = map[struct{}]int{}
)

type subject struct {
	b   *box
	put func(k int)
	get func(k int) int
	del func(k int)
	all func() int
	clr func()
}

var nodes [4096]*node
var chs [256]chan int

func bkey(k int) (b bigKey) { b[0], b[1], b[150] = byte(k), byte(k>>8), byte(k); return }

func subjects() []subject {
	for i := range nodes {
		nodes[i] = &node{i}
	}
	for i := range chs {
		chs[i] = make(chan int)
	}
	return []subject{
		{follow("setA", setA),
			func(k int) { setA[[16]byte{byte(k), 1, 15: byte(k >> 8)}] = struct{}{} },
			func(k int) int {
				if _, ok := setA[[16]byte{byte(k), 1, 15: byte(k >> 8)}]; ok {
					return 1
				}
				return 0
			},
			func(k int) { delete(setA, [16]byte{byte(k), 1, 15: byte(k >> 8)}) },
			func() (n int) {
				for k := range setA {
					n += int(k[0])
				}
				return
			},
			func() {
				for k := range setA {
					delete(setA, k)
				}
			}},
		{follow("setB", setB),
			func(k int) { setB["a longer string as a key, number "+strconv.Itoa(k)] = struct{}{} },
			func(k int) int {
				if _, ok := setB["a longer string as a key, number "+strconv.Itoa(k)]; ok {
					return 1
				}
				return 0
			},
			func(k int) { delete(setB, "a longer string as a key, number "+strconv.Itoa(k)) },
			func() (n int) {
				for k := range setB {
					n += len(k)
				}
				return
			},
			func() {
				for k := range setB {
					delete(setB, k)
				}
			}},
		{follow("anyM", anyM),
			func(k int) {
				switch k % 3 {
				case 0:
					anyM[k] = k
				case 1:
					anyM[strconv.Itoa(k)]++
				default:
					anyM[pair{int32(k), 2}] = k
				}
			},
			func(k int) int {
				switch k % 3 {
				case 0:
					return anyM[k]
				case 1:
					return anyM[strconv.Itoa(k)]
				}
				return anyM[pair{int32(k), 2}]
			},
			func(k int) {
				switch k % 3 {
				case 0:
					delete(anyM, k)
				case 1:
					delete(anyM, strconv.Itoa(k))
				default:
					delete(anyM, pair{int32(k), 2})
				}
			},
			func() (n int) {
				for k, v := range anyM {
					if _, ok := k.(int); ok {
						n += v
					}
				}
				return
			},
			func() {
				for k := range anyM {
					delete(anyM, k)
				}
			}},
		{follow("lists", lists),
			func(k int) { s := strconv.Itoa(k); lists[s] = append(lists[s], byte(k)) },
			func(k int) int { return len(lists[strconv.Itoa(k)]) },
			func(k int) { delete(lists, strconv.Itoa(k)) },
			func() (n int) {
				for k, v := range lists {
					n += len(k) + len(v)
				}
				return
			},
			func() {
				for k := range lists {
					delete(lists, k)
				}
			}},
		{follow("bigM", bigM),
			func(k int) { k %= 300; v := bigM[uint64(k)]; v[3]++; bigM[uint64(k)] = v },
			func(k int) int { k %= 300; return int(bigM[uint64(k)][3]) },
			func(k int) { delete(bigM, uint64(k%300)) },
			func() (n int) {
				for k, v := range bigM {
					n += int(k) + int(v[7])
				}
				return
			},
			func() {
				for k := range bigM {
					delete(bigM, k)
				}
			}},
		{follow("bigK", bigK),
			func(k int) { bigK[bkey(k%300)] += k },
			func(k int) int { return bigK[bkey(k%300)] },
			func(k int) { delete(bigK, bkey(k%300)) },
			func() (n int) {
				for k, v := range bigK {
					n += int(k[0]) + v
				}
				return
			},
			func() {
				for k := range bigK {
					delete(bigK, k)
				}
			}},
		{follow("bigB", bigB),
			func(k int) { bigB[bkey(k%200)] = big{byte(k)} },
			func(k int) int { return int(bigB[bkey(k%200)][3]) },
			func(k int) { delete(bigB, bkey(k%200)) },
			func() (n int) {
				for k, v := range bigB {
					n += int(k[0]) + int(v[0])
				}
				return
			},
			func() {
				for k := range bigB {
					delete(bigB, k)
				}
			}},
		{follow("ptrs", ptrs),
			func(k int) { ptrs[nodes[k%4096]]++ },
			func(k int) int { return ptrs[nodes[k%4096]] },
			func(k int) { delete(ptrs, nodes[k%4096]) },
			func() (n int) {
				for k, v := range ptrs {
					n += k.v + v
				}
				return
			},
			func() {
				for k := range ptrs {
					delete(ptrs, k)
				}
			}},
		{follow("chans", chans),
			func(k int) { chans[chs[k%256]] = "x" },
			func(k int) int { return len(chans[chs[k%256]]) },
			func(k int) { delete(chans, chs[k%256]) },
			func() (n int) {
				for k, v := range chans {
					n += len(k) + len(v)
				}
				return
			},
			func() {
				for k := range chans {
					delete(chans, k)
				}
			}},
		{follow("floats", floats),
			func(k int) { floats[float64(k)/3]++ },
			func(k int) int { return floats[float64(k)/3] },
			func(k int) { delete(floats, float64(k)/3) },
			func() (n int) {
				for k, v := range floats {
					n += int(k) + v
				}
				return
			},
			func() {
				for k := range floats {
					delete(floats, k)
				}
			}},
		{follow("small", small),
			func(k int) { small[int32(k)] = int16(k) },
			func(k int) int { v, ok := small[int32(k)]; _ = ok; return int(v) },
			func(k int) { delete(small, int32(k)) },
			func() (n int) {
				for k, v := range small {
					n += int(k) + int(v)
				}
				return
			},
			func() {
				for k := range small {
					delete(small, k)
				}
			}},
		{follow("words", words),
			func(k int) { words[uint16(k)] += "y" },
			func(k int) int { return len(words[uint16(k)]) },
			func(k int) { delete(words, uint16(k)) },
			func() (n int) {
				for k, v := range words {
					n += int(k) + len(v)
				}
				return
			},
			func() {
				for k := range words {
					delete(words, k)
				}
			}},
		{follow("bools", bools),
			func(k int) { bools[k%2 == 0]++ },
			func(k int) int { return bools[k%2 == 0] },
			func(k int) { delete(bools, k%2 == 0) },
			func() (n int) {
				for _, v := range bools {
					n += v
				}
				return
			},
			func() {
				for k := range bools {
					delete(bools, k)
				}
			}},
		{follow("pairs", pairs),
			func(k int) { pairs[pair{int32(k), 1}] = vec{1, float32(k), 3} },
			func(k int) int { return int(pairs[pair{int32(k), 1}].y) },
			func(k int) { delete(pairs, pair{int32(k), 1}) },
			func() (n int) {
				for k, v := range pairs {
					n += int(k.a) + int(v.z)
				}
				return
			},
			func() {
				for k := range pairs {
					delete(pairs, k)
				}
			}},
		{follow("mids", mids),
			func(k int) { mids[k] = mid{a: uint64(k), name: "n", list: nil} },
			func(k int) int { v := mids[k]; return int(v.a) + len(v.name) + len(v.list) + int(v.b[9]) },
			func(k int) { delete(mids, k) },
			func() (n int) {
				for k, v := range mids {
					n += k + len(v.name)
				}
				return
			},
			func() {
				for k := range mids {
					delete(mids, k)
				}
			}},
		{follow("midS", midS),
			func(k int) { midS[strconv.Itoa(k)] = mid{a: uint64(k), name: "n"} },
			func(k int) int {
				if v, ok := midS[strconv.Itoa(k)]; ok {
					return len(v.name) + int(v.a)
				}
				return 0
			},
			func(k int) { delete(midS, strconv.Itoa(k)) },
			func() (n int) {
				for k, v := range midS {
					n += len(k) + len(v.list)
				}
				return
			},
			func() {
				for k := range midS {
					delete(midS, k)
				}
			}},
		{follow("bytesM", bytesM),
			func(k int) { bytesM[uint8(k)]++ },
			func(k int) int { return int(bytesM[uint8(k)]) },
			func(k int) { delete(bytesM, uint8(k)) },
			func() (n int) {
				for k, v := range bytesM {
					n += int(k) + int(v)
				}
				return
			},
			func() {
				for k := range bytesM {
					delete(bytesM, k)
				}
			}},
		{follow("odds", odds),
			func(k int) { odds[odd{uint32(k), 1}] = odd{1, uint8(k)} },
			func(k int) int { return int(odds[odd{uint32(k), 1}].b) },
			func(k int) { delete(odds, odd{uint32(k), 1}) },
			func() (n int) {
				for k, v := range odds {
					n += int(k.a) + int(v.b)
				}
				return
			},
			func() {
				for k := range odds {
					delete(odds, k)
				}
			}},
		{follow("arrs", arrs),
			func(k int) { arrs[k] = [15]uint64{1: uint64(k)} },
			func(k int) int { v := arrs[k]; return int(v[1] + v[k%15]) },
			func(k int) { delete(arrs, k) },
			func() (n int) {
				for k, v := range arrs {
					n += k + int(v[k%15])
				}
				return
			},
			func() {
				for k := range arrs {
					delete(arrs, k)
				}
			}},
		{follow("errsM", errsM),
			func(k int) { errsM[strconv.Itoa(k)] = os.ErrNotExist },
			func(k int) int {
				if errsM[strconv.Itoa(k)] != nil {
					return 1
				}
				return 0
			},
			func(k int) { delete(errsM, strconv.Itoa(k)) },
			func() (n int) {
				for _, v := range errsM {
					if v != nil {
						n++
					}
				}
				return
			},
			func() {
				for k := range errsM {
					delete(errsM, k)
				}
			}},
		{follow("funcs", funcs),
			func(k int) { funcs[k] = func(x int) int { return x + k } },
			func(k int) int {
				if f := funcs[k]; f != nil {
					return f(1)
				}
				return 0
			},
			func(k int) { delete(funcs, k) },
			func() (n int) {
				for _, f := range funcs {
					n += f(2)
				}
				return
			},
			func() {
				for k := range funcs {
					delete(funcs, k)
				}
			}},
		{follow("cplx", cplx),
			func(k int) { cplx[complex(float64(k), 1)] = true },
			func(k int) int {
				if cplx[complex(float64(k), 1)] {
					return 1
				}
				return 0
			},
			func(k int) { delete(cplx, complex(float64(k), 1)) },
			func() (n int) {
				for k, v := range cplx {
					if v {
						n += int(real(k))
					}
				}
				return
			},
			func() {
				for k := range cplx {
					delete(cplx, k)
				}
			}},
		{follow("empty", empty),
			func(k int) { empty[struct{}{}]++ },
			func(k int) int { return empty[struct{}{}] },
			func(k int) { delete(empty, struct{}{}) },
			func() (n int) {
				for _, v := range empty {
					n += v
				}
				return
			},
			func() {
				for k := range empty {
					delete(empty, k)
				}
			}},
	}
}

func shapesPhase(rounds int) (n int) {
	r := rng(3)
	for _, s := range subjects() {
		for i := 0; i < rounds; i++ {
			s.put(r.n(rounds))
			s.b.check()
		}
		for i := 0; i < rounds; i++ {
			n += s.get(r.n(rounds * 5 / 4))
		}
		n += s.all()
		s.b.check()
		for i := 0; i < rounds; i++ {
			switch r.n(4) {
			case 0:
				s.put(r.n(rounds))
			case 1, 2:
				s.del(r.n(rounds))
			default:
				n += s.get(r.n(rounds))
			}
			s.b.check()
		}
		s.clr()
		s.b.check()
		for i := 0; i < rounds/4; i++ {
			s.put(r.n(rounds))
			s.b.check()
		}
		n += s.all()
		s.b.check()
	}
	return n
}

// generic containers

type set[T comparable] struct {
	m map[T]struct{}
	b *box
}

func newSet[T comparable](name string) *set[T] {
	s := &set[T]{m: make(map[T]struct{})}
	s.b = follow(name, s.m)
	return s
}
func (s *set[T]) add(v T)      { s.m[v] = struct{}{}; s.b.check() }
func (s *set[T]) has(v T) bool { _, ok := s.m[v]; return ok }
func (s *set[T]) del(v T)      { delete(s.m, v) }

type lru[K comparable, V any] struct {
	m    map[K]V
	keys []K
	b    *box
}

func newLRU[K comparable, V any](name string) *lru[K, V] {
	l := &lru[K, V]{m: make(map[K]V, 100)}
	l.b = follow(name, l.m)
	return l
}
func (l *lru[K, V]) put(k K, v V) {
	if _, ok := l.m[k]; !ok {
		l.keys = append(l.keys, k)
	}
	l.m[k] = v
	if len(l.keys) > 100 {
		delete(l.m, l.keys[0])
		l.keys = l.keys[1:]
	}
	l.b.check()
}
func (l *lru[K, V]) get(k K) V { return l.m[k] }
func (l *lru[K, V]) each(f func(K, V)) {
	for k, v := range l.m {
		f(k, v)
	}
	l.b.check()
}

func genericPhase(rounds int) (n int) {
	a, b := newSet[int]("set[int]"), newSet[string]("set[string]")
	c := newLRU[string, int]("lru[string,int]")
	d := newLRU[int32, *node]("lru[int32,*node]")
	e := newLRU[pair, [3]string]("lru[pair,[3]string]")
	r := rng(5)
	for i := 0; i < rounds*3; i++ {
		k := r.n(rounds)
		a.add(k)
		b.add(strconv.Itoa(k))
		c.put(strconv.Itoa(k), k)
		d.put(int32(k), nodes[k%4096])
		e.put(pair{int32(k), 3}, [3]string{"a", "b"})
		k = r.n(rounds)
		if a.has(k) && b.has(strconv.Itoa(k)) {
			n += c.get(strconv.Itoa(k))
		}
		if p := d.get(int32(k)); p != nil {
			n += p.v
		}
		n += len(e.get(pair{int32(k), 3})[1])
		if k%7 == 0 {
			a.del(k)
			b.del(strconv.Itoa(k))
		}
	}
	c.each(func(k string, v int) { n += len(k) + v })
	d.each(func(k int32, v *node) {
		if v != nil {
			n += v.v
		}
	})
	e.each(func(k pair, v [3]string) { n += len(v[0]) })
	return n
}

// many maps of one type in a slice; closures; a pool

var pool = sync.Pool{New: func() any {
	p := &pooled{m: make(map[string]int)}
	p.b = follow("pooled", p.m)
	return p
}}

type pooled struct {
	m map[string]int
	b *box
}

func counter(name string) (func(int) int, *box) {
	m := map[int]int{}
	return func(k int) int { m[k]++; return len(m) }, follow(name, m)
}

func manyPhase(rounds int) (n int) {
	all := make([]map[int]int, 30)
	boxes := make([]*box, 30)
	for i := range all {
		all[i] = make(map[int]int)
		boxes[i] = follow("many", all[i])
	}
	f, fb := counter("closure a")
	g, gb := counter("closure b")
	r := rng(9)
	for i := 0; i < rounds*10; i++ {
		j := r.n(len(all))
		all[j][r.n(5*(j+1))] = i
		boxes[j].check()
		j = r.n(len(all))
		n += all[j][r.n(5*(j+1))]
		if i%5 == 0 {
			n += f(r.n(100))
			fb.check()
			n += g(r.n(300))
			gb.check()
		}
		if i%20 == 0 {
			p := pool.Get().(*pooled)
			for k := 0; k < 12; k++ {
				p.m[strconv.Itoa(k)] += k
				p.b.check()
			}
			for k := range p.m {
				delete(p.m, k)
			}
			p.b.check()
			pool.Put(p)
		}
	}
	for i, m := range all {
		for k, v := range m {
			n += k + v
		}
		boxes[i].check()
	}
	return n
}

// maps on the stack, small ones on the heap

//go:noinline
func local(k int) (n int) {
	m := map[int]int{}
	var b box
	b.start("local", "map[int]int", of(m))
	for i := 0; i < 6; i++ {
		m[i*k] = i
	}
	for i := 0; i < 8; i++ {
		n += m[i*k]
	}
	for a, c := range m {
		n += a + c
	}
	delete(m, k)
	b.check()
	b.end()
	return n
}

//go:noinline
func localS(words []string) (n int) {
	m := make(map[string]int, 8)
	var b box
	b.start("localS", "map[string]int", of(m))
	for _, w := range words {
		m[w]++
	}
	for _, w := range words {
		n += m[w]
	}
	b.check()
	b.end()
	return n
}

func localGrows(k int) (n int) {
	m := map[uint32]uint64{}
	var b box
	b.start("localGrows", "map[uint32]uint64", of(m))
	for i := 0; i < 40; i++ {
		m[uint32(i*k)] = uint64(i)
		b.check()
	}
	for i := 0; i < 40; i++ {
		n += int(m[uint32(i*k)])
	}
	b.end()
	return n
}

//go:noinline
func deep(n int) byte {
	var room [64 << 10]byte
	room[n] = 1
	return room[n/2]
}

func stackPhase(rounds int) (n int) {
	n += int(deep(rounds)) // the stack does not move any more
	w := []string{"alpha", "beta", "gamma", "delta", "alpha"}
	for i := 0; i < rounds; i++ {
		n += local(i + 1)
		n += localS(w)
		if i%5 == 0 {
			n += localGrows(i + 1)
		}
	}
	return n
}

// growth and deletion

func growPhase(rounds int) (n int) {
	m := map[uint64]uint64{}
	b := follow("grow", m)
	s := map[string]int{}
	sb := follow("growS", s)
	r := rng(13)
	for i := 0; i < rounds*4; i++ {
		m[r.next()] = uint64(i)
		b.check()
		s[strconv.Itoa(i)] = i
		sb.check()
		if i%(rounds/2) == 0 {
			// growth while iterating
			left := 40
			for k, v := range m {
				n += int(v)
				m[k+1] = v
				b.check()
				if r.n(3) == 0 {
					delete(m, k)
				}
				if left--; left == 0 {
					break
				}
			}
			b.check()
		}
	}
	// delete-heavy
	i := 0
	for k := range m {
		if i%10 != 0 {
			delete(m, k)
		}
		i++
	}
	b.check()
	for i := 0; i < rounds*4; i++ {
		delete(s, strconv.Itoa(i))
	}
	b.check()
	sb.check()
	for i := 0; i < rounds; i++ {
		m[r.next()] = 1
		b.check()
		s[strconv.Itoa(i)] = i
		sb.check()
	}
	for k := range m {
		delete(m, k)
	}
	b.check()
	return n + len(m) + len(s)
}

var sink int

func main() {
	if len(os.Args) < 5 {
		println("usage: zoo FILE ROUNDS gc|nogc PHASE...")
		os.Exit(2)
	}
	rounds, _ := strconv.Atoi(os.Args[2])
	if os.Args[3] == "nogc" {
		debug.SetGCPercent(-1)
	} else {
		debug.SetGCPercent(30)
	}
	log.buf = make([]byte, 0, 256<<20)
	for _, phase := range os.Args[4:] {
		switch phase {
		case "cache":
			sink += cachePhase(rounds)
		case "nested":
			sink += nestedPhase(rounds)
		case "shapes":
			sink += shapesPhase(rounds)
		case "generic":
			sink += genericPhase(rounds)
		case "many":
			sink += manyPhase(rounds)
		case "stack":
			sink += stackPhase(rounds)
		case "grow":
			sink += growPhase(rounds)
		default:
			println("no phase", phase)
			os.Exit(2)
		}
	}
	if err := os.WriteFile(os.Args[1], log.buf, 0o644); err != nil {
		panic(err)
	}
}
