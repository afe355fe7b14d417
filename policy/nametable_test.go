package policy

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNameTable(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, capacity := range []int{0, 1, 100, 5000} {
		table := newNameTable(capacity)
		want := map[string]uint32{}
		for range 3000 {
			name := fmt.Sprintf("%d.%s.example", r.IntN(2000), strings.Repeat("x", r.IntN(200)))
			value := r.Uint32()
			table.insert(hashName(name), name, value)
			want[name] = value
		}
		for range 2 { // before and after the trim
			if table.count != len(want) {
				t.Errorf("capacity %d: %d names, want %d", capacity, table.count, len(want))
			}
			for name, value := range want {
				if got, ok := table.find(hashName(name), name); !ok || got != value {
					t.Fatalf("capacity %d: find(%q) = %d, %v, want %d", capacity, name, got, ok, value)
				}
				if got, ok := table.find(hashName("q"+name), "q"+name); ok {
					t.Fatalf("capacity %d: find(%q) = %d, which was never put in", capacity, "q"+name, got)
				}
			}
			table.trim()
		}
		if spare := cap(table.arena) - len(table.arena); spare > len(table.arena)/16 {
			t.Errorf("capacity %d: %d of %d bytes are spare", capacity, spare, cap(table.arena))
		}
		if len(table.slots) > 2*table.count {
			t.Errorf("capacity %d: %d slots for %d names", capacity, len(table.slots), table.count)
		}
	}
}

func TestNameTableEmpty(t *testing.T) {
	table := newNameTable(0)
	table.trim()
	for _, name := range []string{"", "com", "example.com"} {
		if _, ok := table.find(hashName(name), name); ok {
			t.Errorf("an empty table holds %q", name)
		}
	}
	table.each(func(uint32, []byte) { t.Error("an empty table has a record") })
}

// TestNameTableVerifiesBytes: names whose hashes collide are told apart, in the
// table and behind the filter.
func TestNameTableVerifiesBytes(t *testing.T) {
	const hash = 0x0123456789abcdef
	table := newNameTable(0)
	for i := range 20 {
		table.appendColliding(hash, fmt.Sprintf("name%d.example", i), uint32(i))
	}
	for i := range 20 {
		name := fmt.Sprintf("name%d.example", i)
		if value, ok := table.find(hash, name); !ok || value != uint32(i) {
			t.Errorf("find(%q) = %d, %v, want %d", name, value, ok, i)
		}
	}
	for _, absent := range []string{"", "name1.exampl", "name1.example2", "name20.example"} {
		if _, ok := table.find(hash, absent); ok {
			t.Errorf("find(%q) found something", absent)
		}
	}
}

// appendColliding puts a name in under a hash that is not its own. It makes
// room first, since a rebuild would use the real one.
func (t *nameTable) appendColliding(hash uint64, name string, value uint32) {
	if t.count == 0 {
		t.resize(64)
	}
	t.insert(hash, name, value)
}

func TestNameTableLongNames(t *testing.T) {
	table := newNameTable(0)
	for _, length := range []int{0, 1, 127, 128, 129, 255, 256, 1004, maxTableName} {
		name := strings.Repeat("n", length)
		table.insert(hashName(name), name, uint32(length)+1)
	}
	tooLong := strings.Repeat("n", maxTableName+1)
	table.insert(hashName(tooLong), tooLong, 1)
	for _, length := range []int{0, 1, 127, 128, 129, 255, 256, 1004, maxTableName} {
		name := strings.Repeat("n", length)
		if value, ok := table.find(hashName(name), name); !ok || value != uint32(length)+1 {
			t.Errorf("a name of %d bytes: %d, %v", length, value, ok)
		}
	}
	if _, ok := table.find(hashName(tooLong), tooLong); ok {
		t.Error("a name longer than the table takes was found")
	}
}

// TestHashName: the hash of a name is built label by label from the right.
func TestHashName(t *testing.T) {
	for _, name := range []string{"us", "zoom.us", "us04web.zoom.us", "a..b", ".", "", strings.Repeat("label-of-23-characters.", 20) + "com"} {
		var hash uint64
		labels := strings.Split(name, ".")
		for i := len(labels) - 1; i >= 0; i-- {
			hash = extendHash(hash, labels[i])
		}
		if got := hashName(name); got != hash {
			t.Errorf("hashName(%q) = %x, label by label %x", name, got, hash)
		}
	}
}

// alikeNames are names as alike as lists have them.
func alikeNames() map[string]func(i int) string {
	return map[string]func(i int) string{
		"counted":    func(i int) string { return fmt.Sprintf("host%05d.example.com", i) },
		"short":      func(i int) string { return fmt.Sprintf("%x.com", i) },
		"top":        func(i int) string { return fmt.Sprintf("example.%x", i) },
		"deep":       func(i int) string { return fmt.Sprintf("%d.%d.%d.example", i&15, i>>4&255, i>>12) },
		"long label": func(i int) string { return fmt.Sprintf("%040d-the-same-ending.example", i) },
		"middle":     func(i int) string { return fmt.Sprintf("xxxxxxxxxxx%05dxxxxxxxxxxx.example", i) },
	}
}

// TestHashSpreads: alike names spread evenly over slots, and no two collide.
func TestHashSpreads(t *testing.T) {
	const names = 1 << 16
	for form, name := range alikeNames() {
		seen := map[uint64]bool{}
		var high, low [names]uint8
		for i := range names {
			h := hashName(name(i))
			seen[h] = true
			high[h>>48]++
			low[h&(names-1)]++
		}
		if len(seen) != names {
			t.Errorf("%s: %d names, %d hashes", form, names, len(seen))
		}
		// Thrown at random, names/e slots stay empty: 24109, give or take 120.
		for end, slots := range map[string]*[names]uint8{"high": &high, "low": &low} {
			if empty := bytes.Count(slots[:], []byte{0}); empty < 23_000 || empty > 25_300 {
				t.Errorf("%s: by the %s bits %d of %d slots are empty, about 24109 would be even", form, end, empty, names)
			}
		}
	}
}

// TestFilterTurnsMissesAway: without it every miss would touch the table.
func TestFilterTurnsMissesAway(t *testing.T) {
	const names = 1 << 16
	for form, name := range alikeNames() {
		table := newNameTable(names)
		for i := range names {
			table.insert(hashName(name(i)), name(i), 0)
		}
		passed := 0
		for i := range names {
			if table.mayHold(hashName(name(i + names))) {
				passed++
			}
		}
		if passed > names/14 || passed == 0 {
			t.Errorf("%s: the filter lets %.1f of 100 misses pass, about 4.5 are expected", form, 100*float64(passed)/names)
		}
	}
}

func BenchmarkHashName(b *testing.B) {
	for b.Loop() {
		hashName("static.cdn.example.com")
	}
}
