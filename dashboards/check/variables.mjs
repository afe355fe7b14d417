// Rules for variables: all that are used exist, all that exist are used.
import { exprProblems } from './queries.mjs';

// $__range, ${__value.raw} and the like are Grafana's; $1 is label_replace's.
const BUILT_IN = /^(__|\d)/;

// used finds the variables in every text of a dashboard.
const used = (value, found = new Set()) => {
  if (typeof value === 'string') {
    for (const m of value.matchAll(/\$(?:\{(\w+)|(\w+))/g)) found.add(m[1] ?? m[2]);
  } else if (value && typeof value === 'object') {
    for (const one of Object.values(value)) used(one, found);
  }
  return found;
};

export const variableProblems = (d) => {
  const variables = d.templating.list;
  const names = variables.map((v) => v.name);
  // A variable by which only other variables are narrowed changes nothing that
  // is shown: its own kind of use does not count.
  const inPanels = used({ ...d, templating: null, links: null });
  const inVariables = used(d.templating);
  return [
    ...[...inPanels, ...inVariables].filter((n) => !BUILT_IN.test(n) && !names.includes(n)).map((n) => `the variable ${n} is used, and not there`),
    ...names.filter((n) => !inPanels.has(n)).map((n) => `the variable ${n} is there, and not used`),
    ...['datasource', 'job', 'instance'].filter((n) => !names.includes(n)).map((n) => `the variable ${n} is missing`),
    ...variables.filter((v) => v.type === 'query').flatMap((v) => queryVariable(v).map((p) => `variable ${v.name}: ${p}`)),
  ];
};

// What each variable may be narrowed by: those that come before it.
const queryVariable = (v) => {
  const query = /^label_values\((\w+)(\{.*\})?, (\w+)\)$/.exec(v.query);
  if (!query) return [`${JSON.stringify(v.query)} is not label_values(series, label)`];
  const [, metric, selector = '', label] = query;
  const expected = { job: [], instance: ['instance'] }[v.name] ?? ['job', 'instance'];
  const complaints = exprProblems(`${metric}${selector}`).filter((p) => !/is a counter/.test(p));
  return [
    ...(label === v.name ? [] : [`has the values of ${label}`]),
    ...(v.multi && v.includeAll ? [] : ['does not take several values, or all']),
    ...complaints.filter((p) => v.name !== 'job' && !(expected[0] === 'instance' && /is not chosen by \$instance$/.test(p))),
  ];
};
