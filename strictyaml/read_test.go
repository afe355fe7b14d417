package strictyaml

import (
	"fmt"
	"strings"
	"testing"
)

// problemsOf reads a file in which anything goes and gives what Read reports.
func problemsOf(data string) []string {
	var problems Problems
	if v, ok := Read("f.yaml", []byte(data), &problems); ok {
		walk(v)
	}
	return lines(problems)
}

// walk visits everything below a value, as a caller with no expectations would.
func walk(v Value) {
	switch {
	case v.IsMapping():
		v.Entries(func(_, value Value) { walk(value) })
	case v.IsList():
		v.Items(walk)
	default:
		v.Text()
	}
}

func lines(ps Problems) []string {
	var out []string
	for _, p := range ps {
		out = append(out, p.String())
	}
	return out
}

func TestReadRefuses(t *testing.T) {
	tests := []struct {
		name, data string
		want       []string // every problem, in order
	}{
		{"empty", "", []string{"f.yaml:1:1: the file is empty"}},
		{"comments only", "# nothing\n", []string{"f.yaml:1:1: the file is empty"}},
		{"null", "---\n", []string{"f.yaml:1:1: the file is empty"}},
		{"two documents", "a: 1\n---\nb: 2\n", []string{`f.yaml:2: a second document begins here: a file is one document; remove the "---" line`}},
		{"latin-1", "a: 1\nb: M\xfcnchen\n", []string{"f.yaml:2: the file is not UTF-8 text: save it as UTF-8"}},
		{"UTF-16", "\xff\xfea\x00:\x00", []string{"f.yaml:1: the file is not UTF-8 text: save it as UTF-8"}},
		{"too large", strings.Repeat("#", MaxSize+1), []string{"f.yaml: the file has 16777217 bytes: at most 16777216 are read"}},
		{"repeated key", "a: 1\nb: 2\na: 3\n", []string{`f.yaml:3:1: key "a" is written twice: first at line 1`}},
		{"merge key", "a: &x {b: 1}\nc:\n  <<: *x\n", []string{`f.yaml:3:3: merge keys ("<<") are not supported: write the keys out, or let an alias stand for a whole value`}},
		{"key that is a list", "? [a, b]\n: 1\n", []string{"f.yaml:1:3: a key must be text, not a list"}},
		{"key that is nothing", "~: 1\n", []string{"f.yaml:1:1: a key must be text, not nothing"}},
		{"tag", "a: !!binary aGk=\n", []string{`f.yaml:1:4: tag "!!binary" is not supported: write the value without it`}},
		{"tag on a list", "a: !mine [1]\n", []string{`f.yaml:1:4: tag "!mine" is not supported: write the value without it`}},
		{"tag on a mapping", "a: !mine {b: 1}\n", []string{`f.yaml:1:4: tag "!mine" is not supported: write the value without it`}},
		{"tag on a key", "!mine a: 1\n", []string{`f.yaml:1:1: tag "!mine" is not supported: write the value without it`}},
		{"nothing behind a key", "a:\n", []string{`f.yaml:1:3: "a" has no value: give it one or remove the key`}},
		{"empty item", "a: [x, ]\nb:\n  -\n  - y\n", []string{`f.yaml:3:4: an item of "b" is empty: remove it or give it a value`}},
		{"alias inside itself", "a: &x [1, *x]\n", []string{"f.yaml:1:4: alias *x stands inside the value that it stands for"}},
		{"tab", "a:\n  b: 1\n\tc: 2\n", []string{"f.yaml:3:2: not valid YAML: found a tab character that violates indentation: indent with spaces, not with tabs (in what begins at line 2)"}},
		{"indicator", "a: 1\nb: @x\n", []string{"f.yaml:2:1: not valid YAML: found character that cannot start any token: quote a value that begins with @, ` or %"}},
		{"colon in text", "a: 1\nb: x: y\n", []string{"f.yaml:2:1: not valid YAML: mapping values are not allowed in this context: quote a value that holds a colon, and check the indentation"}},
		{"star", "a: 1\nd: [*.zoom.us]\n", []string{`f.yaml:2:1: not valid YAML: did not find expected alphabetic or numeric character: quote a value that begins with * or &, as in "*.zoom.us"`}},
		{"unknown anchor", "a: 1\nd: *zoom\n", []string{`f.yaml:2:1: not valid YAML: unknown anchor 'zoom' referenced: quote a value that begins with * or &, as in "*.zoom.us"`}},
		{"unclosed quote", "a: \"b\nc: 1\n", []string{"f.yaml:2:1: not valid YAML: found unexpected end of stream"}},
		{
			"bad indentation far below the block's begin",
			"rules:\n  - name: a\n    who: {}\n    what: {}\n    action: block\n   reason: x\n  - name: b\n",
			[]string{"f.yaml:6:4: not valid YAML: did not find expected '-' indicator: check the indentation of this line and the brackets and quotes above it (in what begins at line 1)"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := problemsOf(tt.data)
			if strings.Join(got, "\n") != strings.Join(tt.want, "\n") {
				t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(tt.want, "\n     "))
			}
		})
	}
}

func TestReadTakesAliases(t *testing.T) {
	var problems Problems
	root, ok := Read("f.yaml", []byte("a: &nets [10.0.0.0/8, 192.168.0.0/16]\nb: *nets\n"), &problems)
	if !ok {
		t.Fatal(problems)
	}
	var got []string
	root.Entries(func(_, value Value) { got = append(got, value.Lines()...) })
	if want := "[10.0.0.0/8 192.168.0.0/16 10.0.0.0/8 192.168.0.0/16]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReadBoundsAliases(t *testing.T) {
	var b strings.Builder
	b.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i <= 30; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10), ", "))
	}
	want := "f.yaml: the aliases of this file stand for more than 100000 values: write fewer of them"
	if got := problemsOf(b.String()); len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// FuzzRead asks that no bytes can panic or escape the bounds, and that a file
// is refused exactly when a problem says why.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		"", "a: 1\n", "a: [x, {b: c}]\n", "a: &x {b: 1}\nc: *x\n", "a: &x [*x]\n", "<<: {a: 1}\n",
		"--- !!map\n? [a]\n: b\n", "a: \"b\n", "\tb: 1\n", "- - - -\n", "a: |\n  text\n", "%YAML 1.2\n---\na\n", "a\n...\nb",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var problems Problems
		v, ok := Read("f", data, &problems)
		if ok == problems.HasErrors() {
			t.Fatalf("ok %v, problems %v", ok, problems)
		}
		if ok {
			walk(v)
		}
		for _, p := range problems {
			if p.File != "f" || p.Line < 0 || p.Message == "" {
				t.Errorf("problem %+v", p)
			}
		}
	})
}
