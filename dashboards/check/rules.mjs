// The rules of our own, which Grafana's types do not know. Each is a function of
// a dashboard that returns its complaints.
import { defaultDashboard } from '@grafana/schema';
import { queryProblems } from './queries.mjs';
import { linkProblems } from './links.mjs';
import { variableProblems } from './variables.mjs';

const COLUMNS = 24;

// Units of Grafana that the dashboards use; a misspelt one would be shown as a
// word behind the number.
const UNITS = new Set(['Bps', 'bytes', 'd', 'dateTimeFromNow', 'none', 'ops', 'percentunit', 'reqps', 's', 'short']);

const panelsOf = (dashboard) => dashboard.panels.filter((panel) => panel.type !== 'row');

const name = (panel) => `panel ${panel.id} ${JSON.stringify(panel.title ?? '')}`;

const shell = (d) => [
  [/^sallyport-[a-z]+$/.test(d.uid ?? ''), `uid ${JSON.stringify(d.uid)} is not sallyport-<word>`],
  [d.schemaVersion === defaultDashboard.schemaVersion, `schemaVersion is ${d.schemaVersion}, Grafana's is ${defaultDashboard.schemaVersion}`],
  [d.id === null, 'id belongs to one installation of Grafana; it must be null'],
  [d.tags?.includes('sallyport'), 'the tag sallyport is missing'],
  [d.refresh === '30s', 'refresh is not 30s'],
  [d.graphTooltip === 1, 'panels do not share their crosshair'],
  [/[.?]$/.test(d.description ?? ''), 'the description is missing, or no sentence'],
].filter(([good]) => !good).map(([, problem]) => problem);

const identity = (d) => {
  const seen = new Map();
  return d.panels.flatMap((panel) => {
    const before = seen.get(panel.id);
    seen.set(panel.id, panel);
    if (!Number.isInteger(panel.id)) return [`${name(panel)} has no id`];
    return before ? [`${name(panel)} has the id of ${name(before)}`] : [];
  });
};

const words = (d) => panelsOf(d).flatMap((panel) => [
  ...(panel.title?.trim() ? [] : [`${name(panel)} has no title`]),
  ...(/\S.*[.!?]$/.test(panel.description ?? '') ? [] : [`${name(panel)} has no description, or one that is no sentence`]),
]);

const units = (d) => panelsOf(d).flatMap((panel) => {
  const { defaults, overrides } = panel.fieldConfig ?? { defaults: {}, overrides: [] };
  const of = [defaults.unit, ...overrides.flatMap((o) => o.properties.filter((p) => p.id === 'unit').map((p) => p.value))];
  return of.filter((unit) => !UNITS.has(unit)).map((unit) => `${name(panel)} has the unit ${JSON.stringify(unit)}, which is none of ${[...UNITS].join(', ')}`);
});

// A tile that is painted says good or bad: with one colour it could only ever say
// good, and where there is nothing to paint Grafana takes the first colour, green
// as a rule, for a gateway of which nothing is known.
const colours = (d) => panelsOf(d).filter((panel) => panel.options?.colorMode === 'background').flatMap((panel) => {
  const { thresholds, mappings } = panel.fieldConfig.defaults;
  return [
    ...(new Set(thresholds.steps.map((s) => s.color)).size < 2 ? [`${name(panel)} is painted, and has one colour only`] : []),
    ...(mappings.some((m) => m.options.match === 'null+nan') ? [] : [`${name(panel)} is painted, and does not say what it is where there is no data`]),
  ];
});

const legends = (d) => panelsOf(d).flatMap((panel) => {
  if (['timeseries', 'state-timeline', 'bargauge', 'heatmap'].includes(panel.type) && !panel.options?.legend) return [`${name(panel)} has no legend`];
  // The windows of neighbouring points overlap.
  if (panel.options?.legend?.calcs?.includes('sum')) return [`${name(panel)} adds up, in its legend, what was counted more than once`];
  return [];
});

const overlap = (a, b) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

const grid = (d) => d.panels.flatMap((panel, i) => {
  const at = panel.gridPos;
  if (!at || at.x < 0 || at.y < 0 || at.w < 1 || at.h < 1 || at.x + at.w > COLUMNS) return [`${name(panel)} is outside the grid`];
  return d.panels.slice(0, i).filter((other) => overlap(at, other.gridPos)).map((other) => `${name(panel)} overlaps ${name(other)}`);
});

const rows = (d) => d.panels
  .filter((panel) => panel.type === 'row' && (panel.collapsed || panel.panels.length > 0))
  .map((row) => `${name(row)} hides its panels`);

const RULES = [shell, identity, words, units, colours, legends, grid, rows, queryProblems, variableProblems];

// problems returns what is wrong with dashboards, by name: of each, and of all
// of them together. `exists` says whether a path is in the repository.
export const problems = (dashboards, exists) => {
  const uids = Object.values(dashboards).map((d) => d.uid);
  return Object.fromEntries(Object.entries(dashboards).map(([file, d]) => [file, [
    ...RULES.flatMap((rule) => rule(d)),
    ...linkProblems(d, uids, exists),
    ...(uids.filter((uid) => uid === d.uid).length > 1 ? [`another dashboard has the uid ${d.uid} too`] : []),
  ]]));
};
