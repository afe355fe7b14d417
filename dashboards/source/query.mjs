// The selectors that every query of the dashboards begins with, and the shapes
// that queries are asked in.

// SEL chooses the gateways. Everything else that is scraped under the same job
// and instance, such as the process's own metrics, is chosen by it too.
export const SEL = 'job=~"$job",instance=~"$instance"';

// BAN chooses decisions, by the further variables of The ban.
export const BAN = `${SEL},door=~"$door",group=~"$group",app=~"$app"`;

// The window of a rate: Grafana makes it at least four scrapes long, so that a
// rate has points to work with however far the dashboard is zoomed in.
export const RATE = '[$__rate_interval]';

const letter = (i) => String.fromCharCode('A'.charCodeAt(0) + i);

const target = (i, fields) => ({
  datasource: { type: 'prometheus', uid: '${datasource}' },
  editorMode: 'code',
  refId: letter(i),
  ...fields,
});

// over asks for series over time: [expression, legend] each.
export const over = (...queries) =>
  queries.map(([expr, legendFormat], i) => target(i, { expr, legendFormat, range: true }));

// now asks for one value a series, at the end of the time range.
export const now = (...queries) =>
  queries.map(([expr, legendFormat], i) => target(i, { expr, legendFormat, instant: true, range: false }));

// rows asks for one line of a table a series.
export const rows = (...exprs) =>
  exprs.map((expr, i) => target(i, { expr, format: 'table', instant: true, range: false }));

// buckets asks for a histogram, over time.
export const buckets = (expr) => [target(0, { expr, format: 'heatmap', legendFormat: '{{le}}', range: true })];

// quantiles are the lines of a latency panel, of a histogram's buckets as they
// were summed up.
export const quantiles = (bucketsExpr) =>
  over(...[0.5, 0.9, 0.99].map((q) => [`histogram_quantile(${q}, ${bucketsExpr})`, `p${q * 100}`]));
