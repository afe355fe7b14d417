// What the three dashboards have in common: variables, annotations, links.
import { SEL } from './query.mjs';
import { BOARDS, REPOSITORY, doc } from './addresses.mjs';
import { place } from './layout.mjs';

const datasource = { type: 'prometheus', uid: '${datasource}' };

const ALL = { selected: true, text: ['All'], value: ['$__all'] };

const choice = (name, label, metric, description, more) => ({
  type: 'query',
  name,
  label,
  description,
  datasource,
  query: `label_values(${metric}, ${name})`,
  refresh: 2, // when the time range changes: what has gone since is found in the past
  sort: 1,
  multi: true,
  includeAll: true,
  current: ALL,
  ...more,
});

const VARIABLES = [
  {
    type: 'datasource', name: 'datasource', label: 'Data source', query: 'prometheus',
    description: 'The Prometheus that scrapes the gateways.', includeAll: false, multi: false, refresh: 1,
  },
  // "All" jobs is a list of those that export sallyport's metrics, and not ".*":
  // `up` and `process_*` are every program's.
  choice('job', 'Job', 'sallyport_build_info', 'The scrape job of the gateways.'),
  choice('instance', 'Gateway', 'sallyport_build_info{job=~"$job"}', 'One gateway or several.', { allValue: '.*' }),
];

const DECISIONS = [
  choice('door', 'Door', `sallyport_decisions_total{${SEL}}`, 'dns, proxy, or both.', { allValue: '.*' }),
  choice('group', 'Group', `sallyport_decisions_total{${SEL}}`, 'Groups of the policy. No person is ever a label.', { allValue: '.*' }),
  choice('app', 'App', `sallyport_decisions_total{${SEL}}`, 'Apps of the catalogue and of the policy; none: no app matched.', { allValue: '.*' }),
];

const event = (name, iconColor, expr, titleFormat, textFormat, more) => ({
  name, iconColor, titleFormat, textFormat, datasource, enable: true, hide: false,
  target: { expr, refId: 'Anno', interval: '' },
  ...more,
});

const revisions = `sallyport_policy_info{${SEL}}`;

const ANNOTATIONS = [
  // Only where a revision is and was not one step before, so that it is marked
  // once, when the first gateway enforces it.
  event('Policy changes', 'blue', `count by (revision) (${revisions}) unless count by (revision) (${revisions} offset $__interval)`,
    'Policy {{revision}}', 'The first gateway enforces it. The log of the gateway says what is different.'),
  event('Edits refused', 'red', `sum by (instance) (increase(sallyport_policy_reloads_total{${SEL},result="failure"}[$__rate_interval])) > 0`,
    'Edit refused at {{instance}}', 'The policy on disk has a mistake; the one before keeps deciding.'),
  // The value is itself the time, in milliseconds.
  event('Starts', 'purple', `max by (instance) (process_start_time_seconds{${SEL}}) * 1000`,
    'Start of {{instance}}', 'A gateway was started, or upgraded.', { useValueForTime: true }),
];

const link = (title, url, tooltip, more) => ({
  type: 'link', icon: 'dashboard', title, url, tooltip, tags: [], asDropdown: false,
  includeVars: true, keepTime: true, targetBlank: false, ...more,
});

const outside = { icon: 'doc', includeVars: false, keepTime: false, targetBlank: true };

const LINKS = {
  [BOARDS.ban]: link('The ban', `/d/${BOARDS.ban}`, 'Does the ban hold?'),
  [BOARDS.doors]: link('Doors', `/d/${BOARDS.doors}`, 'Traffic, latency and limits of both doors'),
  [BOARDS.fleet]: link('Fleet', `/d/${BOARDS.fleet}`, 'Revisions, versions and drift over all gateways'),
};

// board is a whole dashboard.
export const board = ({ uid, title, description, from, decisions, sections }) => ({
  uid,
  title,
  description,
  id: null,
  schemaVersion: 42,
  tags: ['sallyport'],
  editable: true,
  fiscalYearStartMonth: 0,
  graphTooltip: 1,
  liveNow: false,
  preload: false,
  refresh: '30s',
  time: { from, to: 'now' },
  timepicker: {},
  timezone: 'browser',
  weekStart: '',
  links: [
    ...Object.entries(LINKS).filter(([other]) => other !== uid).map(([, l]) => l),
    link('How to read it', doc('dashboards.md'), 'What each panel shows', outside),
    link('Runbooks', `${REPOSITORY}/tree/main/docs/runbooks`, 'What to do when an alert fires', outside),
  ],
  annotations: { list: ANNOTATIONS },
  templating: { list: decisions ? [...VARIABLES, ...DECISIONS] : VARIABLES },
  panels: place(sections),
});
