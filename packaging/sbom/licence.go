package main

import (
	"fmt"
	"io"
	"strings"
)

// kindsOf are the licences in a text, as SPDX names them. It knows those of the
// modules that there are, by the sentences that no other licence has.
func kindsOf(text string) []string {
	words := strings.ToLower(strings.Join(strings.Fields(text), " "))
	var kinds []string
	if strings.Contains(words, "permission is hereby granted, free of charge, to any person obtaining a copy") {
		kinds = append(kinds, "MIT")
	}
	if strings.Contains(words, "apache license") && strings.Contains(words, "version 2.0") {
		kinds = append(kinds, "Apache-2.0")
	}
	if strings.Contains(words, "redistribution and use in source and binary forms") {
		kinds = append(kinds, bsd(words))
	}
	if strings.Contains(words, "creative commons legal code cc0 1.0 universal") {
		kinds = append(kinds, "CC0-1.0")
	}
	return kinds
}

// bsd tells the clause apart that forbids advertising with the authors' names.
func bsd(words string) string {
	if strings.Contains(words, "to endorse or promote products") {
		return "BSD-3-Clause"
	}
	return "BSD-2-Clause"
}

// writeLicences writes the licences of all parts one after the other.
func writeLicences(w io.Writer, parts []part) {
	fmt.Fprint(w, "The sallyport binary contains the following, under these licences.\n")
	for _, p := range parts {
		for _, t := range p.texts {
			rule := strings.Repeat("-", 80)
			fmt.Fprintf(w, "\n%s\n%s %s (%s)\n%s\n%s\n\n%s\n", rule, p.path, p.version, p.licence, t.name, rule, strings.TrimSpace(t.content))
		}
	}
}
