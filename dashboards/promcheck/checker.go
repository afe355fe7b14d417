package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// checker collects what is wrong with queries.
type checker struct {
	known    knowledge
	place    string // of what is being checked, for messages
	checked  int
	problems []string
}

func (c *checker) complain(format string, args ...any) {
	c.problems = append(c.problems, c.place+": "+fmt.Sprintf(format, args...))
}

// query checks an expression, and gives the labels of what it results in: open
// where it cannot be read.
func (c *checker) query(text string) labelSet {
	c.checked++
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(text)
	if err != nil {
		c.complain("cannot be read: %v", err)
		return labelSet{open: true}
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			c.selector(node)
		case *parser.Call:
			c.call(node)
		}
		return nil
	})
	return c.labelsOf(expr)
}

// selector checks that a selector can select something.
func (c *checker) selector(v *parser.VectorSelector) {
	if v.Name == "" {
		c.complain("%s names no metric", v)
		return
	}
	s, ok := c.known[v.Name]
	if !ok {
		c.complain("%s", c.unknown(v.Name))
		return
	}
	for _, m := range v.LabelMatchers {
		if m.Name == model.MetricNameLabel {
			continue
		}
		if !s.labels.has(m.Name) {
			c.complain("%s has no label %q", v.Name, m.Name)
			continue
		}
		c.values(v.Name, s, m)
	}
}

// unknown says of a name that is none what it could have been meant for.
func (c *checker) unknown(name string) string {
	if c.known.histogramOf(name) {
		return name + " is a histogram: its series are " + name + "_bucket, _sum and _count"
	}
	if strings.Contains(name, ":") {
		return name + " is recorded by no rule"
	}
	return name + " is exported by nobody"
}

// values checks the values that a matcher is after, where they are fixed words.
func (c *checker) values(name string, s series, m *labels.Matcher) {
	fixed, ok := s.values[m.Name]
	if !ok || strings.Contains(m.Value, "$") {
		return
	}
	wanted := []string{m.Value}
	if m.Type == labels.MatchRegexp || m.Type == labels.MatchNotRegexp {
		wanted = m.SetMatches()
		if len(wanted) == 0 && !slices.ContainsFunc(fixed, func(v string) bool { return m.Matches(v) == (m.Type == labels.MatchRegexp) }) {
			c.complain("no %s of %s fits %s", m.Name, name, m)
		}
	}
	for _, value := range wanted {
		if value != "" && !slices.Contains(fixed, value) {
			c.complain("%s of %s is never %q; it is one of %s", m.Name, name, value, strings.Join(fixed, ", "))
		}
	}
}

// What functions want of the series in their range.
var (
	ofCounters = []string{"rate", "irate", "increase", "resets"}
	ofGauges   = []string{"delta", "idelta", "deriv", "predict_linear", "double_exponential_smoothing"}
)

// call checks that a function is given what it is for.
func (c *checker) call(call *parser.Call) {
	function := call.Func.Name
	switch {
	case slices.Contains(ofCounters, function):
		c.eachSelected(call.Args[0], func(name string, s series) {
			if s.kind != counter && s.kind != bucket {
				c.complain("%s of %s, which is a %s", function, name, s.kind)
			}
		})
	case slices.Contains(ofGauges, function):
		c.eachSelected(call.Args[0], func(name string, s series) {
			if s.kind == counter || s.kind == bucket {
				c.complain("%s of %s, which is a counter", function, name)
			}
		})
	case function == "histogram_quantile":
		c.eachSelected(call.Args[1], func(name string, s series) {
			if s.kind != bucket && s.kind != recorded {
				c.complain("%s of %s, which has no buckets", function, name)
			}
		})
		if !c.labelsOf(call.Args[1]).has("le") {
			c.complain("%s of what has no label le any more: %s", function, call.Args[1])
		}
	case function == "label_replace":
		c.sources(call, call.Args[3:4])
	case function == "label_join":
		c.sources(call, call.Args[3:])
	}
}

// sources checks the labels that another is made of; "" is none.
func (c *checker) sources(call *parser.Call, names parser.Expressions) {
	has := c.labelsOf(call.Args[0])
	for _, name := range names {
		if source, ok := name.(*parser.StringLiteral); ok && source.Val != "" && !has.has(source.Val) {
			c.complain("%s from the label %q, which is not there", call.Func.Name, source.Val)
		}
	}
}

// eachSelected calls look with every known series that an expression selects.
func (c *checker) eachSelected(expr parser.Expr, look func(name string, s series)) {
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			if s, known := c.known[v.Name]; known {
				look(v.Name, s)
			}
		}
		return nil
	})
}

var templateLabel = regexp.MustCompile(`\$labels\.([a-zA-Z_]\w*)|\.Labels\.([a-zA-Z_]\w*)`)

// template checks the labels that an annotation of an alert writes.
func (c *checker) template(text string, has labelSet) {
	for _, m := range templateLabel.FindAllStringSubmatch(text, -1) {
		if name := m[1] + m[2]; !has.has(name) {
			c.complain("%q writes the label %q, which is not there", text, name)
		}
	}
}

var legendLabel = regexp.MustCompile(`\{\{\s*([a-zA-Z_]\w*)\s*\}\}`)

// legend checks the labels that a legend of Grafana writes.
func (c *checker) legend(text string, has labelSet) {
	for _, m := range legendLabel.FindAllStringSubmatch(text, -1) {
		if !has.has(m[1]) {
			c.complain("the legend %q writes the label %q, which is not there", text, m[1])
		}
	}
}
