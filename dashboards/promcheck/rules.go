package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"gopkg.in/yaml.v3"
)

// ruleFile is a file of Prometheus' rules, strictly: no other keys.
type ruleFile struct {
	Groups []struct {
		Name     string            `yaml:"name"`
		Interval string            `yaml:"interval"`
		Limit    int               `yaml:"limit"`
		Labels   map[string]string `yaml:"labels"`
		Rules    []rule            `yaml:"rules"`
	} `yaml:"groups"`
}

// rule is an alert or a recording rule.
type rule struct {
	Record        string            `yaml:"record"`
	Alert         string            `yaml:"alert"`
	Expr          string            `yaml:"expr"`
	For           string            `yaml:"for"`
	KeepFiringFor string            `yaml:"keep_firing_for"`
	Labels        map[string]string `yaml:"labels"`
	Annotations   map[string]string `yaml:"annotations"`
}

// recordedName is level:metric:operations.
var recordedName = regexp.MustCompile(`^[a-z_]+:[a-z0-9_]+:[a-z0-9_]+$`)

// rules checks a file of rules. What it records is known from then on.
func (c *checker) rules(path string) error {
	var file ruleFile
	if err := readYAML(path, &file); err != nil {
		return err
	}
	for _, group := range file.Groups {
		for _, r := range group.Rules {
			c.place = fmt.Sprintf("%s: %s%s", filepath.Base(path), r.Record, r.Alert)
			result := c.query(r.Expr)
			for name, text := range r.Labels {
				c.template(text, result)
				result = result.plus(labelsNamed(name))
			}
			if r.Alert != "" {
				for _, text := range r.Annotations {
					c.template(text, result)
				}
				continue
			}
			if !recordedName.MatchString(r.Record) {
				c.complain("write level:metric:operations")
			}
			if before, twice := c.known[r.Record]; twice {
				result = result.plus(before.labels)
			}
			c.known.add(r.Record, series{labels: result}, recorded)
		}
	}
	return nil
}

// readYAML reads a file into a struct that has to know every key.
func readYAML(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
