package strictyaml

import (
	"encoding/json"
	"fmt"
	"testing"
)

func TestPositionString(t *testing.T) {
	tests := []struct {
		at   Position
		want string
	}{
		{Position{"p.yaml", 3, 7}, "p.yaml:3:7"},
		{Position{"p.yaml", 3, 0}, "p.yaml:3"},
		{Position{"p.yaml", 0, 0}, "p.yaml"},
		{Position{}, ""},
	}
	for _, tt := range tests {
		if got := tt.at.String(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.at, got, tt.want)
		}
	}
}

func TestProblems(t *testing.T) {
	var ps Problems
	if ps.HasErrors() || ps.Err() != nil {
		t.Error("no problems, yet errors")
	}
	ps.Warnf(Position{"b", 1, 1}, "odd")
	if ps.HasErrors() || ps.Err() != nil {
		t.Error("a warning is not an error")
	}
	ps.Errorf(Position{"b", 10, 1}, "bad %q", "x")
	ps.Errorf(Position{"a", 2, 9}, "worse")
	ps.Errorf(Position{}, "no place")
	ps.Errorf(Position{"a", 2, 3}, "left")
	if !ps.HasErrors() {
		t.Error("errors, yet none")
	}
	ps.Sort([]string{"b", "a"})
	want := "[b:1:1: warning: odd b:10:1: bad \"x\" a:2:3: left a:2:9: worse no place]"
	if got := fmt.Sprint(ps); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	wantErr := "b:10:1: bad \"x\"\na:2:3: left\na:2:9: worse\nno place"
	if got := ps.Err(); got == nil || got.Error() != wantErr {
		t.Errorf("got %v, want %s", got, wantErr)
	}
}

func TestProblemJSON(t *testing.T) {
	got, err := json.Marshal(Problem{Position: Position{"a", 2, 3}, Severity: SeverityWarning, Message: "odd"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"file":"a","line":2,"column":3,"severity":"warning","message":"odd"}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if SeverityError.String() != "error" {
		t.Error("the zero severity is an error")
	}
}

func TestNearest(t *testing.T) {
	names := []string{"zoom", "webex", "msteams", "goto", "jitsi", "wire", "line"}
	tests := []struct{ name, want string }{
		{"zom", "zoom"},
		{"Zoom", "zoom"},
		{"zomo", "zoom"},
		{"zooom", "zoom"},
		{"webx", "webex"},
		{"ms-teams", "msteams"},
		{"teams", "msteams"},
		{"jtisi", "jitsi"},
		{"telegram", ""},
		{"x", ""},
		{"", ""},
		{"wine", "wire"}, // one edit from wire and from line: the first wins
		{string(make([]byte, 65)), ""},
	}
	for _, tt := range tests {
		if got := Nearest(tt.name, names); got != tt.want {
			t.Errorf("Nearest(%q) = %q, want %q", tt.name, got, tt.want)
		}
	}
}
