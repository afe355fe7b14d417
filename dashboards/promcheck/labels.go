package main

import (
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// labelsOf is which labels the result of an expression can have. On the way it
// checks that what is grouped and matched by is there.
func (c *checker) labelsOf(expr parser.Expr) labelSet {
	switch e := expr.(type) {
	case *parser.VectorSelector:
		if s, ok := c.known[e.Name]; ok {
			return s.labels
		}
		return labelSet{open: true} // which has been complained of
	case *parser.MatrixSelector:
		return c.labelsOf(e.VectorSelector)
	case *parser.SubqueryExpr:
		return c.labelsOf(e.Expr)
	case *parser.ParenExpr:
		return c.labelsOf(e.Expr)
	case *parser.UnaryExpr:
		return c.labelsOf(e.Expr)
	case *parser.StepInvariantExpr:
		return c.labelsOf(e.Expr)
	case *parser.AggregateExpr:
		return c.labelsOfAggregate(e)
	case *parser.BinaryExpr:
		return c.labelsOfBinary(e)
	case *parser.Call:
		return c.labelsOfCall(e)
	default: // numbers and strings
		return labelsNamed()
	}
}

func (c *checker) labelsOfAggregate(e *parser.AggregateExpr) labelSet {
	inner := c.labelsOf(e.Expr)
	for _, name := range e.Grouping {
		if !inner.has(name) {
			c.complain("%s groups by the label %q, which is not there: %s", e.Op, name, e.Expr)
		}
	}
	switch {
	case e.Op == parser.TOPK, e.Op == parser.BOTTOMK:
		return inner
	case e.Without:
		return inner.minus(e.Grouping...)
	case e.Op == parser.COUNT_VALUES:
		if name, ok := e.Param.(*parser.StringLiteral); ok {
			return inner.only(e.Grouping...).plus(labelsNamed(name.Val))
		}
	}
	return inner.only(e.Grouping...)
}

func (c *checker) labelsOfBinary(e *parser.BinaryExpr) labelSet {
	left, right := c.labelsOf(e.LHS), c.labelsOf(e.RHS)
	if e.LHS.Type() == parser.ValueTypeScalar {
		return right
	}
	if e.RHS.Type() == parser.ValueTypeScalar || e.VectorMatching == nil {
		return left
	}
	m := e.VectorMatching
	for _, name := range m.MatchingLabels {
		if !left.has(name) && !right.has(name) {
			c.complain("%s is matched by the label %q, which neither side has", e, name)
		}
	}
	for _, name := range m.Include {
		if m.Card == parser.CardManyToOne && !right.has(name) || m.Card == parser.CardOneToMany && !left.has(name) {
			c.complain("%s takes the label %q from a side that does not have it", e, name)
		}
	}
	switch {
	case e.Op == parser.LOR:
		return left.plus(right)
	case e.Op == parser.LAND, e.Op == parser.LUNLESS:
		return left
	case m.Card == parser.CardManyToOne:
		return left.plus(labelsNamed(m.Include...))
	case m.Card == parser.CardOneToMany:
		return right.plus(labelsNamed(m.Include...))
	case m.On:
		return left.only(m.MatchingLabels...)
	default:
		return left.minus(m.MatchingLabels...)
	}
}

func (c *checker) labelsOfCall(e *parser.Call) labelSet {
	switch e.Func.Name {
	case "absent", "absent_over_time":
		return equalMatchers(e.Args[0])
	case "vector", "time", "scalar", "pi":
		return labelsNamed()
	case "histogram_quantile":
		return c.labelsOf(e.Args[1]).minus("le")
	case "label_replace", "label_join":
		labels := c.labelsOf(e.Args[0])
		if name, ok := e.Args[1].(*parser.StringLiteral); ok {
			labels = labels.plus(labelsNamed(name.Val))
		}
		return labels
	}
	for _, arg := range e.Args {
		if t := arg.Type(); t == parser.ValueTypeVector || t == parser.ValueTypeMatrix {
			return c.labelsOf(arg)
		}
	}
	return labelsNamed()
}

// equalMatchers are the labels that absent gives its result: those that are
// matched with =.
func equalMatchers(expr parser.Expr) labelSet {
	found := labelsNamed()
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			for _, m := range v.LabelMatchers {
				if m.Type == labels.MatchEqual && m.Name != model.MetricNameLabel {
					found.names[m.Name] = true
				}
			}
		}
		return nil
	})
	return found
}
