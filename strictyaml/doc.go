// Package strictyaml reads YAML the way a careful clerk would: it says where
// every mistake is, all of them at once, and guesses nothing.
//
// [Read] turns one file into a [Value]. The caller walks it with methods that
// name what is expected, and every value that is something else becomes a
// [Problem] with file, line and column:
//
//	var problems strictyaml.Problems
//	root, ok := strictyaml.Read("sallyport.yaml", data, &problems)
//	if ok {
//		root.Mapping(strictyaml.Shape{
//			Noun: "configuration",
//			Fields: map[string]func(strictyaml.Value){
//				"tenant": func(v strictyaml.Value) { tenant, _ = v.Line() },
//				"listen": func(v strictyaml.Value) { listen = v.Lines() },
//			},
//		})
//	}
//	if problems.HasErrors() { ... }
//
// What it is strict about:
//
//   - a file is one document of at most [MaxSize] bytes, and not empty;
//   - unknown keys and repeated keys are errors, with the nearest known name;
//   - a key with nothing behind it is an error, never a silent zero;
//   - scalars are read from their text, so that no YAML rule turns `no` into
//     false or `2020-04-01` into a date behind the reader's back;
//   - merge keys (`<<`) and tags are refused; aliases are allowed, and what
//     they expand to is bounded.
//
// A single scalar is taken for a list of one, except where it holds a comma:
// `networks: 10.0.0.0/8` can only mean one thing, `apps: zoom, webex` cannot.
//
// The package knows nothing of policies. Package policy and package gateway
// both read their files with it. It is the only one that imports yaml.v3.
package strictyaml
