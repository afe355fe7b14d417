package strictyaml

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"gopkg.in/yaml.v3"
)

// MaxSize is the largest file that Read takes, in bytes.
const MaxSize = 16 << 20

// Read parses data as a single YAML document. The name is used in positions
// only: Read opens no file. Whatever is wrong is added to problems; then, and
// only then, the result is false.
func Read(name string, data []byte, problems *Problems) (Value, bool) {
	start := Position{File: name, Line: 1, Column: 1}
	if len(data) > MaxSize {
		problems.Errorf(Position{File: name}, "the file has %d bytes: at most %d are read", len(data), MaxSize)
		return Value{}, false
	}
	if line, bad := invalidUTF8(data); bad {
		problems.Errorf(Position{File: name, Line: line}, "the file is not UTF-8 text: save it as UTF-8")
		return Value{}, false
	}
	root, next, err := decode(data)
	switch {
	case errors.Is(err, io.EOF):
		problems.Errorf(start, "the file is empty")
		return Value{}, false
	case err != nil:
		*problems = append(*problems, syntaxProblem(name, data, err))
		return Value{}, false
	case next != nil:
		problems.Errorf(Position{File: name, Line: next.Line}, "a second document begins here: a file is one document; remove the \"---\" line")
		return Value{}, false
	}
	v := Value{file: name, node: root, name: "file", noun: "the file", problems: problems}
	if isNull(root) {
		problems.Errorf(start, "the file is empty")
		return Value{}, false
	}
	if !boundAliases(v) {
		return Value{}, false
	}
	return v, true
}

// invalidUTF8 finds the first line that is not UTF-8. YAML also allows UTF-16,
// which an editor on Windows may write by accident; it is refused as well,
// since every other tool that reads the file would stumble over it.
func invalidUTF8(data []byte) (line int, bad bool) {
	if utf8.Valid(data) && bytes.IndexByte(data, 0) < 0 {
		return 0, false
	}
	line = 1
	for _, l := range bytes.SplitAfter(data, []byte{'\n'}) {
		if !utf8.Valid(l) || bytes.IndexByte(l, 0) >= 0 {
			break
		}
		line++
	}
	return line, true
}

// decode reads the first document's root, and the second document where there
// is one. The library reports its own defects by panicking: they become
// errors here, so that no file can take the gateway down.
func decode(data []byte) (root, next *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("yaml: %v", r)
		}
	}()
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := decoder.Decode(&doc); err != nil {
		return nil, nil, err
	}
	var second yaml.Node
	switch err := decoder.Decode(&second); {
	case errors.Is(err, io.EOF):
		return doc.Content[0], nil, nil
	case err != nil:
		return nil, nil, err
	default:
		return doc.Content[0], &second, nil
	}
}
