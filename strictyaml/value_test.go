package strictyaml

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// read gives the value behind the key "k" of a one-line file.
func read(t *testing.T, value string, problems *Problems) Value {
	t.Helper()
	root, ok := Read("f", []byte("k: "+value+"\n"), problems)
	if !ok {
		t.Fatal(*problems)
	}
	var v Value
	root.Entries(func(_, value Value) { v = value })
	return v
}

// reader reads a value and prints what it got, for the table below.
type reader func(Value) (any, bool)

func TestScalars(t *testing.T) {
	text := func(v Value) (any, bool) { return first(v.Text()) }
	line := func(v Value) (any, bool) { return first(v.Line()) }
	boolean := func(v Value) (any, bool) { return first(v.Bool()) }
	number := func(v Value) (any, bool) { return first(v.Int(1, 65535)) }
	mode := func(v Value) (any, bool) { return first(v.OneOf("null", "nxdomain", "refused")) }
	length := func(v Value) (any, bool) { return first(v.Duration(time.Second, 24*365*time.Hour)) }
	size := func(v Value) (any, bool) { return first(v.Size(1, 1<<40)) }
	list := func(v Value) (any, bool) { l := v.Lines(); return l, len(l) > 0 }
	tests := []struct {
		name  string
		read  reader
		value string
		want  string // the value, or the message of the one problem
	}{
		{"text", text, "hello", "hello"},
		{"text keeps what it looks like", text, "0328", "0328"},
		{"text of a word", text, "no", "no"},
		{"text of a date", text, "2020-04-01", "2020-04-01"},
		{"text is trimmed", text, `"  a b \n"`, "a b"},
		{"text of nothing", text, "", `"k" has no value: give it one or remove the key`},
		{"text of a null", text, "~", `"k" has no value: give it one or remove the key`},
		{"text of space", text, `" "`, `"k" is empty: give it a value or remove the key`},
		{"text of a list", text, "[a]", `"k" must be a single value, not a list`},
		{"text of a mapping", text, "{a: b}", `"k" must be a single value, not a mapping`},
		{"text too long", text, strings.Repeat("x", maxText+1), `"k" has 65537 bytes: at most 65536 are taken`},
		{"line", line, "SEC-328", "SEC-328"},
		{"line of two", line, `"a\nb"`, `"k" must be one line without control characters`},
		{"line too long", line, strings.Repeat("x", maxLine+1), `"k" has 4097 bytes: at most 4096 are taken`},
		{"true", boolean, "true", "true"},
		{"false", boolean, "false", "false"},
		{"yes", boolean, "yes", `"k" must be true or false, not "yes"`},
		{"bool of nothing", boolean, "", `"k" has no value: give it one or remove the key`},
		{"number", number, "443", "443"},
		{"quoted number", number, `"443"`, "443"},
		{"number too large", number, "65536", `"k" must be a number from 1 to 65535, not "65536"`},
		{"number of another base", number, "0x10", `"k" must be a number from 1 to 65535, not "0x10"`},
		{"number of a list", number, "[1]", `"k" must be a single value, not a list`},
		{"one of", mode, "refused", "refused"},
		{"bare null", mode, "null", "null"},
		{"quoted null", mode, `"null"`, "null"},
		{"one of nothing", mode, "", `"k" has no value: give it one or remove the key`},
		{"other null", mode, "~", `unknown k "~": use null, nxdomain or refused`},
		{"nearly one of", mode, "nxdomian", `unknown k "nxdomian": did you mean "nxdomain"?`},
		{"none of", mode, "drop", `unknown k "drop": use null, nxdomain or refused`},
		{"duration", length, "1h30m", "1h30m0s"},
		{"days", length, "2d", "48h0m0s"},
		{"days and hours", length, "1d12h", "36h0m0s"},
		{"days and days", length, "1d36h", `"k" must be a length of time such as 30s, 8h or 2d, not "1d36h"`},
		{"too many days", length, "99999999999d", `"k" must be a length of time such as 30s, 8h or 2d, not "99999999999d"`},
		{"too long", length, "400d", `"k" must be from 1s to 365d, not "400d"`},
		{"negative", length, "-1h", `"k" must be a length of time such as 30s, 8h or 2d, not "-1h"`},
		{"duration without unit", length, "8", `"k" must be a length of time such as 30s, 8h or 2d, not "8"`},
		{"duration of nothing", length, "", `"k" has no value: give it one or remove the key`},
		{"bytes", size, "512", "512"},
		{"mebibytes", size, "64MiB", "67108864"},
		{"size with space", size, "1 KiB", "1024"},
		{"size overflow", size, "99999999999TiB", `"k" must be a size such as 512KiB or 64MiB, not "99999999999TiB"`},
		{"size too large", size, "2TiB", `"k" must be from 1 to 1099511627776 bytes, not "2TiB"`},
		{"size of a list", size, "[]", `"k" must be a single value, not a list`},
		{"list", list, "[a, b]", "[a b]"},
		{"list of one", list, "10.0.0.0/8", "[10.0.0.0/8]"},
		{"list that is unclear", list, "zoom, webex", `"k" must be a list: write [zoom, webex] for several values, or ["zoom, webex"] for one with a comma in it`},
		{"list of a mapping", list, "{a: b}", `"k" must be a list, not a mapping`},
		{"list of nothing", list, "", `"k" must be a list, not nothing`},
		{"list of lists", list, "[[a]]", `an item of "k" must be a single value, not a list`},
		{"list with nothing in it", list, "[~, ]", `an item of "k" is empty: remove it or give it a value`},
		{"list with a tag", list, "!x [a]", `tag "!x" is not supported: write the value without it`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var problems Problems
			value, ok := tt.read(read(t, tt.value, &problems))
			got := fmt.Sprint(value)
			if !ok {
				if len(problems) != 1 {
					t.Fatalf("got %d problems: %v", len(problems), problems)
				}
				got = problems[0].Message
			} else if len(problems) > 0 {
				t.Fatal(problems)
			}
			if got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func first[T any](value T, ok bool) (any, bool) { return value, ok }

func TestMapping(t *testing.T) {
	const file = `
name: a
actoin: block
colour: red
until: now
name: b
`
	var problems Problems
	root, ok := Read("f", []byte(file), &problems)
	if !ok {
		t.Fatal(problems)
	}
	var names []string
	isMapping := root.Mapping(Shape{
		Noun: "rule",
		Fields: map[string]func(Value){
			"name":   func(v Value) { s, _ := v.Line(); names = append(names, v.Name()+"="+s) },
			"action": func(Value) { t.Error("action is not there") },
		},
		Required: []string{"name", "action", "who"},
		Hints:    map[string]string{"until": `write it under "when"`, "who": "say who"},
	})
	if !isMapping || fmt.Sprint(names) != "[name=a]" {
		t.Errorf("mapping %v, names %v", isMapping, names)
	}
	want := []string{
		`f:3:1: unknown key "actoin" in rule: did you mean "action"?`,
		`f:4:1: unknown key "colour" in rule: it can have action, name`,
		`f:5:1: unknown key "until" in rule: write it under "when"`,
		`f:6:1: key "name" is written twice: first at line 2`,
		`f:2:1: rule without "action"`,
		`f:2:1: rule without "who": say who`,
	}
	if got := strings.Join(lines(problems), "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestMappingOfSomethingElse(t *testing.T) {
	var problems Problems
	v := read(t, "[a]", &problems)
	if v.Mapping(Shape{Noun: "rule"}) || v.Entries(func(_, _ Value) { t.Error("visited") }) {
		t.Error("a list passed for a mapping")
	}
	want := `[f:1:4: "k" must be a mapping, not a list f:1:4: "k" must be a mapping from names, not a list]`
	if got := fmt.Sprint(problems); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMappingHasKeys(t *testing.T) {
	var problems Problems
	v := read(t, "{a: 1, b: }", &problems)
	if !v.Has("a") || !v.Has("b") || v.Has("c") || v.Len() != 0 {
		t.Errorf("a %v, b %v, c %v, %d items", v.Has("a"), v.Has("b"), v.Has("c"), v.Len())
	}
	if list := read(t, "[a, b]", &problems); list.Has("a") || list.Len() != 2 {
		t.Errorf("a list has the key %v, %d items", list.Has("a"), list.Len())
	}
	if scalar := read(t, "a", &problems); scalar.Len() != 1 {
		t.Errorf("a scalar has %d items", scalar.Len())
	}
}

func TestDurationText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second: "1s", 90 * time.Second: "1m30s", time.Minute: "1m", 8 * time.Hour: "8h",
		90 * time.Minute: "1h30m", 24 * time.Hour: "1d", 25 * time.Hour: "25h", 48 * time.Hour: "2d",
	} {
		if got := durationText(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestValueAs(t *testing.T) {
	var problems Problems
	v := read(t, "dsn", &problems).As("door")
	v.OneOf("dns", "proxy")
	v.Int(1, 2)
	if got, want := fmt.Sprint(problems), `[f:1:4: unknown door "dsn": did you mean "dns"? f:1:4: "door" must be a number from 1 to 2, not "dsn"]`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestValuePlaces(t *testing.T) {
	var problems Problems
	v := read(t, "ü x", &problems)
	v.Errorf("bad %d", 1)
	v.Warnf("odd")
	if got, want := fmt.Sprint(problems), "[f:1:4: bad 1 f:1:4: warning: odd]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
