// Rules for the queries of panels, annotations and variables.
import { parse } from './promql.mjs';

// LABELS are all labels that a query may touch or show: those of the metrics,
// whose values are words of the configuration, and those of the scrape. None can
// hold the name or the address of a person or a device.
const LABELS = new Set([
  'action', 'alertname', 'alertstate', 'app', 'certificate', 'code', 'direction', 'door', 'fleet', 'format', 'group',
  'instance', 'job', 'kind', 'le', 'list', 'method', 'outcome', 'parent', 'problem', 'quantile', 'rcode', 'reason',
  'result', 'revision', 'rule', 'severity', 'sink', 'source', 'state', 'transport', 'upstream', 'version',
]);

// Grafana makes these windows, of the scrape interval and the time range; fixed
// ones would be empty, or smooth everything away, at some zoom.
const WINDOWS = new Set(['$__rate_interval', '$__range']);

const COUNTER = /_(total|count|sum|bucket)$/;

export const queryProblems = (d) => [
  ...d.panels.filter((panel) => panel.type !== 'row').flatMap((panel) => panelProblems(panel).map((p) => `panel ${panel.id} ${JSON.stringify(panel.title)}: ${p}`)),
  ...d.annotations.list.flatMap((a) => [...exprProblems(a.target.expr), ...shownProblems(`${a.titleFormat} ${a.textFormat}`), ...sourceProblems(a.datasource)]
    .map((p) => `annotation ${JSON.stringify(a.name)}: ${p}`)),
];

const panelProblems = (panel) => {
  const targets = panel.targets ?? [];
  const refs = targets.map((t) => t.refId);
  return [
    ...(targets.length === 0 ? ['has no query'] : []),
    ...(new Set(refs).size < refs.length ? ['has two queries of one refId'] : []),
    ...sourceProblems(panel.datasource),
    ...targets.flatMap(targetProblems),
    ...tableProblems(panel, targets),
  ];
};

const targetProblems = (target) => [
  ...sourceProblems(target.datasource),
  ...(target.format === 'table' || target.legendFormat ? [] : [`query ${target.refId} has no legend`]),
  ...shownProblems(target.legendFormat ?? ''),
  ...exprProblems(target.expr),
];

const sourceProblems = (source) => (source?.type === 'prometheus' && source.uid === '${datasource}'
  ? [] : [`asks ${JSON.stringify(source)} and not the variable datasource`]);

const shownProblems = (format) => [...format.matchAll(/\{\{\s*(\w+)\s*\}\}/g)].map((m) => m[1])
  .filter((label) => !LABELS.has(label)).map((label) => `shows the label ${label}`);

// A column of a table is a label, or the value of a query.
const tableProblems = (panel, targets) => {
  if (panel.type !== 'table') return [];
  const organize = panel.transformations?.find((t) => t.id === 'organize');
  const kept = panel.transformations?.find((t) => t.id === 'filterFieldsByName');
  if (!organize || !kept) return ['is a table that shows whatever there is: name its columns'];
  const values = ['Value', ...targets.map((t) => `Value #${t.refId}`)];
  const titles = Object.values(organize.options.renameByName);
  return [
    ...kept.options.include.names.filter((n) => !LABELS.has(n) && !values.includes(n)).map((n) => `shows the column ${n}`),
    ...panel.fieldConfig.overrides.map((o) => o.matcher.options).filter((n) => !titles.includes(n)).map((n) => `has an override for the column ${JSON.stringify(n)}, which it has not`),
  ];
};

// exprProblems holds one expression against the rules.
export const exprProblems = (expr) => {
  let parsed;
  try {
    parsed = parse(expr);
  } catch (error) {
    return [error.message];
  }
  return [
    ...(parsed.series.length === 0 ? [`${JSON.stringify(expr)} asks for nothing`] : []),
    ...parsed.groupings.flat().filter((label) => !LABELS.has(label)).map((label) => `groups by the label ${label}`),
    ...parsed.series.flatMap(seriesProblems),
  ];
};

const seriesProblems = ({ name, matchers, window }) => {
  const matched = (label) => matchers.some((m) => m.label === label && m.operator === '=~' && [`$${label}`, `$${label}|`].includes(m.value));
  return [
    ...['job', 'instance'].filter((label) => !matched(label)).map((label) => `${name} is not chosen by $${label}`),
    ...matchers.filter((m) => !LABELS.has(m.label)).map((m) => `${name} is chosen by the label ${m.label}`),
    ...(window && !WINDOWS.has(window) ? [`${name} is asked for over [${window}]`] : []),
    ...(COUNTER.test(name) && !window ? [`${name} is a counter, and shown without a rate`] : []),
  ];
};
