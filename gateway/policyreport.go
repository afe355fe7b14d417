package gateway

import (
	"cmp"
	"time"

	"go.uber.org/zap"

	"github.com/sallyport/sallyport/console"
	"github.com/sallyport/sallyport/policy"
)

// policyReport is the policy in force, with how often each rule has decided.
// The counts are those of the metrics, so that the two cannot differ.
func (g *Gateway) policyReport() console.PolicyReport {
	state := g.state.Load()
	program := g.engine.Program()
	doc := program.Document()
	hits := g.sumBy("sallyport_decisions_total", "rule")
	would := g.sumBy("sallyport_would_block_total", "rule")
	report := console.PolicyReport{
		Revision:   program.Revision(),
		Files:      doc.Files,
		Default:    doc.Default.String(),
		ReportOnly: doc.ReportOnly,
		Groups:     program.GroupNames(),
		Rules:      []console.RuleReport{},
		Lists:      []console.ListReport{},
		Lint:       policy.Problems{},
	}
	report.Lint = append(report.Lint, state.inForce.Problems...)
	for _, r := range program.Rules() {
		row := ruleReport(r, doc.Location)
		row.Hits, row.WouldHits = hits[r.Name], would[r.Name]
		report.Rules = append(report.Rules, row)
	}
	for _, l := range g.listStates() {
		report.Lists = append(report.Lists, console.ListReport{
			Name: l.Name, File: cmp.Or(l.File, shownURL(l.URL)), Format: l.Format,
			Entries: l.Entries, Skipped: l.Skipped, Trouble: l.Trouble,
		})
	}
	return report
}

func ruleReport(r *policy.Rule, zone *time.Location) console.RuleReport {
	row := console.RuleReport{
		Name:       r.Name,
		Exception:  r.Exception,
		Action:     r.Action.String(),
		ReportOnly: r.ReportOnly,
		Reason:     r.Reason,
		Ticket:     r.Ticket,
		Place:      r.Position.String(),
	}
	for _, d := range r.Doors {
		row.Doors = append(row.Doors, d.String())
	}
	if !r.When.From.IsZero() {
		row.From = r.When.From.In(zone).Format(time.RFC3339)
	}
	if !r.When.Until.IsZero() {
		row.Until = r.When.Until.In(zone).Format(time.RFC3339)
	}
	for i := range r.When.Hours {
		row.Hours = append(row.Hours, r.When.Hours[i].Text)
	}
	return row
}

// sumBy sums a counter's series by one of its labels.
func (g *Gateway) sumBy(name, label string) map[string]uint64 {
	sums := map[string]uint64{}
	g.eachSeries(name, func(labels map[string]string, value float64) {
		sums[labels[label]] += uint64(value)
	})
	return sums
}

// gauge is the value of a gauge without labels; 0 where it is not there.
func (g *Gateway) gauge(name string) float64 {
	var sum float64
	g.eachSeries(name, func(_ map[string]string, value float64) { sum += value })
	return sum
}

// eachSeries visits the series of one counter or gauge.
func (g *Gateway) eachSeries(name string, visit func(labels map[string]string, value float64)) {
	families, err := g.registry.Gather()
	if err != nil {
		g.deps.Log.Warn("gather metrics", zap.Error(err)) // what could be gathered is there
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, series := range family.GetMetric() {
			labels := map[string]string{}
			for _, pair := range series.GetLabel() {
				labels[pair.GetName()] = pair.GetValue()
			}
			visit(labels, series.GetCounter().GetValue()+series.GetGauge().GetValue())
		}
	}
}
