package main

import "strconv"

// subject is one map with the operations on it. Each operation is ordinary code on a concrete map
// type, so that the compiler calls the variant (fast64, faststr, generic) that it would call anywhere.
type subject struct {
	name    string
	m       any // the map
	most    int // entries it may get
	insert  func(i int)
	lookup  func(i int) int
	remove  func(i int)
	iterate func() int
	clear   func()
}

type user struct {
	id   int
	name string
}

type point struct{ x, y, z uint64 }

type endpoint struct {
	host string
	port uint16
}

type page [25]uint64 // 200 bytes: stored by pointer

type label [160]byte // stored by pointer

var (
	orders    = map[uint64]uint64{}
	users     = map[string]*user{}
	endpoints = map[endpoint]int{}
	points    = map[uint32]point{}
	digests   = map[[16]byte]int{}
	flags     = map[int]int8{}
	things    = map[any]*user{}
	pages     = map[uint64]page{}
	labels    = map[label]int{}
	weights   = map[float64]float64{}
)

func userName(i int) string     { return "user-" + strconv.Itoa(i) }
func peer(i int) endpoint       { return endpoint{"host-" + strconv.Itoa(i%7), uint16(i)} }
func digest(i int) (d [16]byte) { d[0], d[7], d[15] = byte(i), byte(i>>8), byte(i); return }
func tag(i int) (l label)       { l[0], l[100], l[159] = byte(i), byte(i>>8), byte(i); return }

var subjects = []subject{
	{"orders", orders, 1 << 20,
		func(i int) { orders[uint64(i)*3+1] = uint64(i) },
		func(i int) int { return int(orders[uint64(i)*3+1]) + len(orders) },
		func(i int) { delete(orders, uint64(i)*3+1) },
		func() (n int) {
			for k, v := range orders {
				n += int(k + v)
			}
			return
		},
		func() {
			for k := range orders {
				delete(orders, k)
			}
		}},
	{"users", users, 1 << 20,
		func(i int) { users[userName(i)] = &user{id: i} },
		func(i int) int {
			if u, ok := users[userName(i)]; ok {
				return u.id
			}
			return 0
		},
		func(i int) { delete(users, userName(i)) },
		func() (n int) {
			for k, v := range users {
				n += len(k) + v.id
			}
			return
		},
		func() {
			for k := range users {
				delete(users, k)
			}
		}},
	{"endpoints", endpoints, 1 << 16,
		func(i int) { endpoints[peer(i)]++ },
		func(i int) int { return endpoints[peer(i)] },
		func(i int) { delete(endpoints, peer(i)) },
		func() (n int) {
			for k, v := range endpoints {
				n += int(k.port) + v
			}
			return
		},
		func() {
			for k := range endpoints {
				delete(endpoints, k)
			}
		}},
	{"points", points, 1 << 20,
		func(i int) { points[uint32(i)] = point{uint64(i), 1, 2} },
		func(i int) int { return int(points[uint32(i)].y) },
		func(i int) { delete(points, uint32(i)) },
		func() (n int) {
			for k, v := range points {
				n += int(k) + int(v.z)
			}
			return
		},
		func() {
			for k := range points {
				delete(points, k)
			}
		}},
	{"digests", digests, 1 << 16,
		func(i int) { digests[digest(i)] = i },
		func(i int) int { return digests[digest(i)] },
		func(i int) { delete(digests, digest(i)) },
		func() (n int) {
			for k, v := range digests {
				n += int(k[0]) + v
			}
			return
		},
		func() {
			for k := range digests {
				delete(digests, k)
			}
		}},
	// At most 8 entries: one bucket, or a Map whose dirPtr is its one group.
	{"flags", flags, 8,
		func(i int) { flags[i] = int8(i) },
		func(i int) int { return int(flags[i]) },
		func(i int) { delete(flags, i) },
		func() (n int) {
			for k, v := range flags {
				n += k + int(v)
			}
			return
		},
		func() {
			for k := range flags {
				delete(flags, k)
			}
		}},
	{"things", things, 1 << 20,
		func(i int) { things[i] = &user{id: i} },
		func(i int) int {
			if u := things[i]; u != nil {
				return u.id
			}
			return 0
		},
		func(i int) { delete(things, i) },
		func() (n int) {
			for _, v := range things {
				n += v.id
			}
			return
		},
		func() {
			for k := range things {
				delete(things, k)
			}
		}},
	{"pages", pages, 1 << 16,
		func(i int) { pages[uint64(i)] = page{uint64(i)} },
		func(i int) int { p := pages[uint64(i)]; return int(p[0] + p[24]) },
		func(i int) { delete(pages, uint64(i)) },
		func() (n int) {
			for k, v := range pages {
				n += int(k + v[0])
			}
			return
		},
		func() {
			for k := range pages {
				delete(pages, k)
			}
		}},
	{"labels", labels, 1 << 16,
		func(i int) { labels[tag(i)] = i },
		func(i int) int { return labels[tag(i)] },
		func(i int) { delete(labels, tag(i)) },
		func() (n int) {
			for k, v := range labels {
				n += int(k[0]) + v
			}
			return
		},
		func() {
			for k := range labels {
				delete(labels, k)
			}
		}},
	{"weights", weights, 1 << 20,
		func(i int) { weights[float64(i)/2] = 1 },
		func(i int) int { return int(weights[float64(i)/2]) },
		func(i int) { delete(weights, float64(i)/2) },
		func() (n int) {
			for k, v := range weights {
				n += int(k + v)
			}
			return
		},
		func() {
			for k := range weights {
				delete(weights, k)
			}
		}},
}
