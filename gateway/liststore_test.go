package gateway

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sallyport/sallyport/policy"
)

// TestSweep clears away what nobody needs, and nothing else.
func TestSweep(t *testing.T) {
	server := serveList(t, "bad.example\n")
	b := newFetchBench(t, nil)
	var keys []string
	for _, name := range []string{"wanted", "recent", "ancient"} {
		source := policy.ListSource{Name: name, URL: server.URL}
		if _, err := b.once(source); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, b.deps.store.key(source))
	}
	store := b.deps.store
	for _, name := range []string{partPrefix + "1", "orphan.list", "README"} {
		writeFile(t, store.path(name), "x")
	}
	names := func() string {
		entries, err := os.ReadDir(store.dir)
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, entry := range entries {
			all = append(all, strings.Split(entry.Name(), "-")[0]+filepath.Ext(entry.Name()))
		}
		return strings.Join(all, " ")
	}
	all := names()
	now := time.Now()
	if err := store.sweep(nil, now); err != nil || names() != all {
		t.Errorf("what is young went: %s, %v", names(), err)
	}
	// An hour later parts and orphans go; a month later a list that nothing wants.
	record, err := store.record(keys[1])
	if err != nil {
		t.Fatal(err)
	}
	record.Checked = now.Add(unusedFor)
	if err := store.write(keys[1], record); err != nil {
		t.Fatal(err)
	}
	wanted := map[string]policy.ListSource{keys[0]: {}}
	if err := store.sweep(wanted, now.Add(unusedFor+time.Minute)); err != nil {
		t.Fatal(err)
	}
	if got, want := names(), "README recent.list recent.json wanted.list wanted.json"; sorted(got) != sorted(want) {
		t.Errorf("left are %s, want %s", got, want)
	}
	// What cannot be read may name anything: nothing goes.
	writeFile(t, store.path(keys[0]+recordSuffix), "{")
	writeFile(t, store.path("orphan.list"), "x")
	if err := store.sweep(wanted, now.Add(2*unusedFor)); err == nil || !strings.Contains(names(), "orphan") {
		t.Errorf("left are %s, %v", names(), err)
	}
}

func FuzzListRecord(f *testing.F) {
	whole, err := (&listRecord{
		URL: "https://lists.example/a.txt", Data: "threats-0-1.list", SHA256: sumOf("x"), Size: 1, Entries: 1,
		ETag: `"a"`, LastModified: "Fri, 03 Apr 2020 12:00:00 GMT", Fetched: time.Unix(1, 0).UTC(), Checked: time.Unix(2, 0).UTC(),
	}).encode()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := parseRecord(whole); err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("{}"))
	f.Add([]byte(strings.Replace(string(whole), "threats-0-1.list", "../../etc/passwd", 1)))
	f.Add([]byte(strings.Replace(string(whole), `\"a\"`, `a\r\nX: y`, 1)))
	f.Add([]byte(string(whole) + "{}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := parseRecord(data)
		if err != nil {
			return
		}
		if filepath.Base(record.Data) != record.Data || strings.ContainsAny(record.ETag+record.LastModified, "\r\n") {
			t.Fatalf("taken: %+v", record)
		}
		again, err := record.encode()
		if err != nil {
			return // a time that JSON cannot write
		}
		if got, err := parseRecord(again); err != nil || got.Data != record.Data || got.ETag != record.ETag || !got.Checked.Equal(record.Checked) {
			t.Fatalf("%+v was written and read as %+v, %v", record, got, err)
		}
	})
}

func sorted(words string) string {
	all := strings.Fields(words)
	slices.Sort(all)
	return strings.Join(all, " ")
}

// TestStateFolder finds the folder beside the configuration, and else beside
// the policy.
func TestStateFolder(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"tenant: default\n", "/etc/sallyport/state"},
		{"state: copies\n", "/etc/sallyport/copies"},
		{"state: /var/lib/sallyport\npolicy: /srv/policy.yaml\n", "/var/lib/sallyport"},
	} {
		c, problems := parseConfig("/etc/sallyport/sallyport.yaml", []byte(test.text))
		if len(problems) > 0 || c.stateFolder() != test.want {
			t.Errorf("%q: %q, %v, want %q", test.text, c.stateFolder(), problems, test.want)
		}
	}
	if got := (&Config{Policy: "/srv/policy.yaml"}).stateFolder(); got != "/srv/state" {
		t.Errorf("without a configuration file: %q", got)
	}
}
