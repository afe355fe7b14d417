package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// dashboard checks every query of a dashboard of Grafana.
func (c *checker) dashboard(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var board any
	if err := json.Unmarshal(text, &board); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	before := c.checked
	c.walk(board, filepath.Base(path))
	if c.checked == before {
		return fmt.Errorf("%s has no query", path)
	}
	return nil
}

// walk looks for queries in a piece of a dashboard: whatever has an expr, be it
// a panel's target or an annotation's, and variables.
func (c *checker) walk(piece any, place string) {
	switch piece := piece.(type) {
	case []any:
		for _, p := range piece {
			c.walk(p, place)
		}
	case map[string]any:
		for _, key := range []string{"title", "name"} {
			if title, ok := piece[key].(string); ok && title != "" {
				place += " / " + title
				break
			}
		}
		c.place = place
		if expr, ok := piece["expr"].(string); ok {
			labels := c.query(withoutVariables(expr))
			if legend, ok := piece["legendFormat"].(string); ok {
				c.legend(legend, labels)
			}
		}
		if piece["type"] == "query" {
			c.variable(piece)
		}
		for _, inner := range piece {
			c.walk(inner, place)
		}
	}
}

// variable checks what the values of a variable come from.
func (c *checker) variable(v map[string]any) {
	text, ok := v["query"].(string)
	if inner, is := v["query"].(map[string]any); is {
		text, ok = inner["query"].(string)
	}
	if !ok {
		c.complain("a variable without a query")
		return
	}
	inside, of := cutCall(text)
	switch of {
	case "label_values":
		at := strings.LastIndexByte(inside, ',')
		if at < 0 {
			return // of every series
		}
		name := strings.TrimSpace(inside[at+1:])
		if labels := c.query(withoutVariables(inside[:at])); !labels.has(name) {
			c.complain("%s: there is no label %q", text, name)
		}
	case "query_result":
		c.query(withoutVariables(inside))
	default:
		c.complain("%s: write label_values(...) or query_result(...)", text)
	}
}

// cutCall is what is between the parentheses of a call, and of what.
func cutCall(text string) (inside, of string) {
	of, inside, _ = strings.Cut(strings.TrimSpace(text), "(")
	return strings.TrimSuffix(inside, ")"), of
}

var durationVariable = regexp.MustCompile(`\$\{?__(rate_interval|interval|range)\}?`)

// withoutVariables is a query as Grafana could send it: with durations in place
// of its own variables. Those inside of quotes may stay.
func withoutVariables(expr string) string {
	expr = strings.NewReplacer("$__range_s", "3600", "${__range_s}", "3600", "$__interval_ms", "60000").Replace(expr)
	return durationVariable.ReplaceAllString(expr, "5m")
}
