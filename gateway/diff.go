package gateway

import (
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/policy"
)

// maxNamed bounds the names of one kind that a log entry lists.
const maxNamed = 20

// diff says what an edit did to the named things of one kind.
type diff struct {
	added, removed, changed []string
	reordered               bool
}

// fields writes the diff for the log; nothing where nothing happened.
func (d diff) fields(kind string) []zap.Field {
	var out []zap.Field
	for _, part := range []struct {
		what  string
		names []string
	}{{"added", d.added}, {"removed", d.removed}, {"changed", d.changed}} {
		if len(part.names) == 0 {
			continue
		}
		shown := part.names[:min(len(part.names), maxNamed)]
		out = append(out, zap.Strings(kind+"_"+part.what, shown))
		if more := len(part.names) - len(shown); more > 0 {
			out = append(out, zap.Int(kind+"_"+part.what+"_more", more))
		}
	}
	if d.reordered {
		out = append(out, zap.Bool(kind+"_reordered", true))
	}
	return out
}

// policyDiff says in log fields what the edit from one document to the next
// was. before may be nil: then there is nothing to compare with.
func policyDiff(before, after *policy.Document) []zap.Field {
	if before == nil {
		return nil
	}
	ruleName := func(r *policy.Rule) string { return r.Name }
	out := compare(before.Exceptions, after.Exceptions, ruleName).fields("exceptions")
	out = append(out, compare(before.Rules, after.Rules, ruleName).fields("rules")...)
	out = append(out, compare(before.Groups, after.Groups, func(g *policy.Group) string { return g.Name }).fields("groups")...)
	out = append(out, compare(before.Apps, after.Apps, func(a *policy.App) string { return a.ID }).fields("apps")...)
	out = append(out, compare(before.Lists, after.Lists, func(l *policy.ListSource) string { return l.Name }).fields("lists")...)
	if before.Default != after.Default {
		out = append(out, zap.Stringer("default", after.Default))
	}
	if before.ReportOnly != after.ReportOnly {
		out = append(out, zap.Bool("report_only", after.ReportOnly))
	}
	return out
}

// compare finds what was added, removed, changed and put in another order.
func compare[T any](before, after []T, name func(*T) string) diff {
	var d diff
	old := make(map[string]*T, len(before))
	for i := range before {
		old[name(&before[i])] = &before[i]
	}
	var kept []string
	for i := range after {
		n := name(&after[i])
		was, known := old[n]
		if !known {
			d.added = append(d.added, n)
			continue
		}
		kept = append(kept, n)
		delete(old, n)
		if !sameMeaning(reflect.ValueOf(was).Elem(), reflect.ValueOf(&after[i]).Elem()) {
			d.changed = append(d.changed, n)
		}
	}
	var stayed []string
	for i := range before {
		n := name(&before[i])
		if _, gone := old[n]; gone {
			d.removed = append(d.removed, n)
		} else {
			stayed = append(stayed, n)
		}
	}
	d.reordered = !slices.Equal(stayed, kept)
	return d
}

// sameMeaning compares two values and leaves out where they were written: a
// comment added at the top of a file changes every position and no rule. It
// walks whatever fields there are, so that a field added to the language is
// compared without a word here.
func sameMeaning(a, b reflect.Value) bool {
	switch x := a.Interface().(type) {
	case policy.Position:
		return true
	case time.Time:
		return x.Equal(b.Interface().(time.Time))
	case netip.Prefix:
		return x == b.Interface().(netip.Prefix)
	case policy.Host:
		return x == b.Interface().(policy.Host)
	case *time.Location:
		return x.String() == b.Interface().(*time.Location).String()
	case *regexp.Regexp:
		y := b.Interface().(*regexp.Regexp)
		return x == y || x != nil && y != nil && x.String() == y.String()
	}
	switch a.Kind() {
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return sameMeaning(a.Elem(), b.Elem())
	case reflect.Slice, reflect.Array:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !sameMeaning(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		for i := range a.NumField() {
			if !sameMeaning(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	default:
		return a.Equal(b)
	}
}
