package gateway

import (
	"bytes"
	"slices"

	"github.com/sallyport/sallyport/policy"
)

// A file that is written in place is a shorter policy for as long as the
// writing takes, and what is there may parse: the last rules, the tests or the
// default are then missing. Nothing tells such a half from an edit that takes
// something away, except that more follows. So an edit after which there is
// less than before is put in force only once the files have come to rest.

// shrunk reports whether after has less than before, or looks as if its end
// were missing.
func shrunk(before, after *Loaded) bool {
	return fewer(before.Document, after.Document) || fewerListed(before.Lists, after.Lists) || endMissing(before, after)
}

// keepDefault makes it an error to lose the default that the policy in force
// spells out. It stands near the end of most policies, so that a file that was
// cut off, by a full disk for example, has lost it, and would let everything
// through that it no longer names.
func keepDefault(before, after *Loaded) {
	if after.Document == nil || !before.Document.DefaultGiven || after.Document.DefaultGiven {
		return
	}
	after.Problems = append(after.Problems, policy.Problem{
		Position: policy.Position{File: after.Document.Files[0], Line: 1, Column: 1},
		Message:  `the policy in force has a "default", and this one has none: its end may be missing; write "default: allow" or "default: block"`,
	})
}

func fewer(before, after *policy.Document) bool {
	return len(after.Rules) < len(before.Rules) ||
		len(after.Exceptions) < len(before.Exceptions) ||
		len(after.Groups) < len(before.Groups) ||
		len(after.Apps) < len(before.Apps) ||
		len(after.Lists) < len(before.Lists) ||
		len(after.Tests) < len(before.Tests) ||
		before.Default == policy.ActionBlock && after.Default != policy.ActionBlock
}

// fewerListed reports whether a list has become shorter: lists are downloaded
// in place more often than policies are written so.
func fewerListed(before, after []ListState) bool {
	entries := make(map[string]int, len(before))
	for _, l := range before {
		entries[l.Name] = l.Entries
	}
	for _, l := range after {
		if l.Entries < entries[l.Name] {
			return true
		}
	}
	return false
}

// endMissing reports whether a file is gone, is no more than the beginning of
// what it was, or has lost the newline at its end.
func endMissing(before, after *Loaded) bool {
	return anyFile(before, after, func(was, is []byte, there bool) bool {
		return !there || isBeginning(is, was) || endsLine(was) && !endsLine(is)
	})
}

// cutShort reports whether a file is no more than the beginning of what it was.
func cutShort(before, after *Loaded) bool {
	return anyFile(before, after, func(was, is []byte, there bool) bool {
		return there && isBeginning(is, was)
	})
}

// anyFile asks of each file of before how it was and how it is, until one is
// found.
func anyFile(before, after *Loaded, found func(was, is []byte, there bool) bool) bool {
	now := make(map[string][]byte, len(after.sources))
	for _, f := range after.sources {
		now[f.Name] = f.Data
	}
	return slices.ContainsFunc(before.sources, func(f policy.File) bool {
		is, there := now[f.Name]
		return found(f.Data, is, there)
	})
}

// isBeginning reports whether part is whole without its end.
func isBeginning(part, whole []byte) bool {
	return len(part) < len(whole) && bytes.HasPrefix(whole, part)
}

func endsLine(data []byte) bool { return bytes.HasSuffix(data, []byte{'\n'}) }
