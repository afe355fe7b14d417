package strictyaml

import "testing"

func TestOptionalLine(t *testing.T) {
	for _, test := range []struct {
		yaml string
		want string
		ok   bool
	}{
		{`key: ""`, "", true},
		{`key: '  '`, "", true},
		{`key: users.htpasswd`, "users.htpasswd", true},
		{`key:`, "", false},
		{`key: null`, "", false},
		{`key: [a]`, "", false},
		{`key: !!str ""`, "", false},
		{`key: "a\nb"`, "", false},
	} {
		var problems Problems
		root, ok := Read("f.yaml", []byte(test.yaml), &problems)
		if !ok {
			t.Fatalf("%s: %v", test.yaml, problems)
		}
		var got string
		root.Mapping(Shape{Noun: "file", Fields: map[string]func(Value){
			"key": func(v Value) { got, ok = v.OptionalLine() },
		}})
		if got != test.want || ok != test.ok {
			t.Errorf("%s: got %q, %v; want %q, %v", test.yaml, got, ok, test.want, test.ok)
		}
		if problems.HasErrors() == test.ok {
			t.Errorf("%s: ok is %v, but the problems are %v", test.yaml, test.ok, problems)
		}
	}
}
