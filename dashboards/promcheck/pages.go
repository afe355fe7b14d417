package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/prometheus/promql/parser"
)

// notMetrics are names of other things that begin alike: sets and tables of
// nftables.
var notMetrics = []string{"sallyport_local", "sallyport_egress", "sallyport_egress_local"}

// pages checks what the documentation, and whatever is deployed, says of metrics.
func (c *checker) pages(root string) error {
	paths := []string{filepath.Join(root, "README.md")}
	for _, folder := range []string{"docs", "deploy", "packaging"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case entry.IsDir() && (entry.Name() == "node_modules" || strings.HasPrefix(entry.Name(), ".")):
				return filepath.SkipDir
			case !entry.IsDir() && slices.Contains([]string{".md", ".yaml", ".yml", ".tpl", ".txt"}, filepath.Ext(path)):
				paths = append(paths, path)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		shown, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		c.page(shown, string(text))
	}
	return nil
}

// page checks one file: every name in it, and of a page every query.
func (c *checker) page(shown, text string) {
	c.place = shown
	for number, line := range strings.Split(text, "\n") {
		c.place = fmt.Sprintf("%s:%d", shown, number+1)
		for _, name := range metricName.FindAllString(line, -1) {
			c.name(name)
		}
	}
	if filepath.Ext(shown) != ".md" {
		return
	}
	for _, code := range codeOf(text) {
		c.place = fmt.Sprintf("%s:%d", shown, code.line)
		c.code(code)
	}
}

// name checks a name that stands somewhere in a text.
func (c *checker) name(name string) {
	if slices.Contains(notMetrics, name) {
		return
	}
	c.checked++
	if _, ok := c.known[name]; ok || c.known.histogramOf(name) {
		return
	}
	for known := range c.known {
		if strings.HasSuffix(name, "_") && strings.HasPrefix(known, name) || strings.Contains(known, ":"+name+":") {
			return // sallyport_dns_*, and what is in the middle of a recorded name
		}
	}
	c.complain("%s", c.unknown(name))
}

// code is a piece of a page that is to be read as it stands.
type code struct {
	text   string
	line   int
	promql bool // the page says that it is a query
}

var (
	fence      = regexp.MustCompile("^\\s*```(\\w*)")
	inlineCode = regexp.MustCompile("`([^`]+)`")
)

// codeOf finds the code in a page: between backquotes, which may be on two
// lines, and in blocks, whose queries are apart by an empty line.
func codeOf(text string) []code {
	var found []code
	var prose strings.Builder
	language, inside, line := "", false, 0
	var block strings.Builder
	begun := 1
	flush := func() {
		if s := strings.TrimSpace(block.String()); s != "" {
			found = append(found, code{s, begun, language == "promql"})
		}
		block.Reset()
	}
	for l := range strings.Lines(text) {
		line++
		if m := fence.FindStringSubmatch(l); m != nil {
			flush()
			inside, language, begun = !inside, m[1], line+1
			prose.WriteString("\n")
			continue
		}
		if !inside {
			prose.WriteString(l)
			continue
		}
		prose.WriteString("\n")
		if language != "promql" || strings.TrimSpace(l) == "" {
			block.WriteString(l)
			flush()
			begun = line + 1
			continue
		}
		block.WriteString(l)
	}
	flush()
	all := prose.String()
	for _, at := range inlineCode.FindAllStringSubmatchIndex(all, -1) {
		found = append(found, code{all[at[2]:at[3]], 1 + strings.Count(all[:at[2]], "\n"), false})
	}
	return found
}

// looksLikeQuery is code that can hardly be anything else.
var looksLikeQuery = regexp.MustCompile(`^[a-z_ ()]*\(?(sallyport_[a-z0-9_]+|[a-z_]+:sallyport_\w+:\w+)\s*([\[{)<>=!/*+-]|$)`)

// sample is a line of an exposition: a series and its value.
var sample = regexp.MustCompile(`^((?:[a-z_]+:)?sallyport_[\w:]+(?:\{.*\})?) (?:[-+0-9.eE]+|…)$`)

// code checks code if it is a query.
func (c *checker) code(code code) {
	text := code.text
	if m := sample.FindStringSubmatch(text); m != nil {
		text = m[1]
	}
	if !strings.Contains(text, "sallyport_") || strings.Contains(text, "_*") {
		return
	}
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(withoutVariables(text))
	if err != nil {
		if strings.Contains(text, "…") {
			return // shortened for the reader; its names have been looked at
		}
		m := looksLikeQuery.FindStringSubmatch(text)
		if code.promql || m != nil && !slices.Contains(notMetrics, m[1]) {
			c.complain("%s cannot be read: %v", text, err)
		}
		return
	}
	if v, ok := expr.(*parser.VectorSelector); ok && (c.known.histogramOf(v.Name) || strings.HasSuffix(v.Name, "_") || slices.Contains(notMetrics, v.Name)) {
		return // the name of a metric, which has been looked at
	}
	c.query(withoutVariables(text))
}
