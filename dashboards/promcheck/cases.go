package main

import (
	"fmt"
	"path/filepath"
)

// caseFile is what is read of a file for promtool test rules.
type caseFile struct {
	RuleFiles          []string       `yaml:"rule_files"`
	EvaluationInterval string         `yaml:"evaluation_interval"`
	GroupEvalOrder     []string       `yaml:"group_eval_order"`
	Tests              []caseTest     `yaml:"tests"`
	Anchors            map[string]any `yaml:",inline"` // shared pieces, if any
}

type caseTest struct {
	Name            string            `yaml:"name"`
	Interval        string            `yaml:"interval"`
	ExternalLabels  map[string]string `yaml:"external_labels"`
	ExternalURL     string            `yaml:"external_url"`
	InputSeries     []inputSeries     `yaml:"input_series"`
	AlertRuleTest   []any             `yaml:"alert_rule_test"`
	PromqlExprTests []exprTest        `yaml:"promql_expr_test"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type exprTest struct {
	Expr       string `yaml:"expr"`
	EvalTime   string `yaml:"eval_time"`
	ExpSamples []any  `yaml:"exp_samples"`
}

// cases checks the tests of rules: that what they feed in could have been
// scraped. promtool itself finds out whether they pass.
func (c *checker) cases(path string) error {
	var file caseFile
	if err := readYAML(path, &file); err != nil {
		return err
	}
	for _, test := range file.Tests {
		c.place = fmt.Sprintf("tests/%s: %s", filepath.Base(path), test.Name)
		for _, input := range test.InputSeries {
			c.query(input.Series)
		}
		for _, test := range test.PromqlExprTests {
			c.query(test.Expr)
		}
	}
	return nil
}
