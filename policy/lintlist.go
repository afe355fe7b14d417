package policy

import "strings"

// unusedLists reports lists that no rule names.
func (l *linter) unusedLists() {
	used := map[string]bool{}
	l.eachRule(func(r *Rule) {
		for w := &r.What; w != nil; w = w.Except {
			for _, ref := range w.Lists {
				used[ref.Name] = true
			}
		}
	})
	for i := range l.doc.Lists {
		if list := &l.doc.Lists[i]; !used[list.Name] {
			l.problems.Warnf(list.Position, "list %q is used by no rule", list.Name)
		}
	}
}

// plainLists reports lists that come over the network unprotected: whoever is
// on the way could empty them, or block what they like.
func (l *linter) plainLists() {
	for i := range l.doc.Lists {
		list := &l.doc.Lists[i]
		if strings.HasPrefix(list.URL, "http://") && list.SHA256 == "" {
			l.problems.Warnf(list.Position, "list %q is fetched over plain http, so that anyone on the way can change it: use https, or pin its content with \"sha256\"", list.Name)
		}
	}
}
