// One function a kind of panel. Each returns a panel without its place and id,
// which layout.mjs gives it.

import { doc } from './addresses.mjs';

const datasource = { type: 'prometheus', uid: '${datasource}' };

// steps turns ['green', [1, 'red']] into thresholds: a base colour, and from
// which value on another one holds.
const steps = ([base, ...above]) => ({
  mode: 'absolute',
  steps: [{ color: base, value: null }, ...above.map(([value, color]) => ({ color, value }))],
});

// value maps one value to a text and a colour, absent maps what is not there.
export const value = (v, text, color) => ({ type: 'value', options: { [v]: { color, index: 0, text } } });
export const from = (v, text, color) => ({ type: 'range', options: { from: v, result: { color, index: 1, text }, to: null } });
export const absent = (text, color) => ({ type: 'special', options: { match: 'null+nan', result: { color, index: 2, text } } });

// runbooks are links in a panel's menu to what to do when an alert about the same
// thing fires.
const runbooks = (alerts) => alerts.map((alert) => ({
  asDropdown: false, icon: 'doc', includeVars: false, keepTime: false, tags: [], targetBlank: true, type: 'link',
  title: `Runbook: ${alert}`, tooltip: '', url: doc(`runbooks/${alert}.md`),
}));

const panel = (type, { title, description, w, h, targets, alerts, ...more }) => ({
  datasource, type, title, description, gridPos: { w, h }, targets, ...(alerts ? { links: runbooks(alerts) } : {}), ...more,
});

const field = ({ unit, color, custom, decimals, mappings, max, min, noValue, thresholds, dataLinks }) => ({
  color: color ?? { mode: 'thresholds' },
  ...(custom ? { custom } : {}),
  ...(decimals === undefined ? {} : { decimals }),
  ...(dataLinks ? { links: dataLinks } : {}),
  mappings: mappings ?? [],
  ...(max === undefined ? {} : { max }),
  ...(min === undefined ? {} : { min }),
  ...(noValue === undefined ? {} : { noValue }),
  thresholds: steps(thresholds ?? ['green']),
  unit,
});

// colours gives series fixed colours by their names, so that the same word has
// the same colour everywhere.
const colours = (byName = {}) =>
  Object.entries(byName).map(([name, fixedColor]) => ({
    matcher: { id: 'byName', options: name },
    properties: [{ id: 'color', value: { fixedColor, mode: 'fixed' } }],
  }));

export const ACTIONS = { allow: 'green', block: 'red', monitor: 'blue', warn: 'orange' };

// stat is one number. `background` paints the whole tile: for what is good or
// bad, not for what is merely much or little.
export const stat = ({ background, text, spark, calc, ...spec }) => panel('stat', {
  ...spec,
  fieldConfig: { defaults: field(spec), overrides: [] },
  options: {
    colorMode: background ? 'background' : 'value',
    graphMode: spark ? 'area' : 'none',
    justifyMode: 'auto',
    orientation: 'auto',
    percentChangeColorMode: 'standard',
    reduceOptions: { calcs: [calc ?? 'lastNotNull'], fields: '', values: false },
    showPercentChange: false,
    textMode: text ?? 'value',
    wideLayout: true,
  },
});

// lines is a time series; `stack` piles its series up, `bars` draws single events,
// `limit` draws the series of that name as a dashed line. Bars are counts in a
// window that is longer than the step between them, lest an event fall between
// two: their sum means nothing, so the legend never shows one.
export const lines = ({ stack, bars, limit, byName, legend, step, ...spec }) => panel('timeseries', {
  ...spec,
  fieldConfig: {
    defaults: field({
      min: 0,
      color: { mode: 'palette-classic-by-name' },
      ...spec,
      custom: {
        drawStyle: bars ? 'bars' : 'line',
        fillOpacity: stack || bars ? 60 : 10,
        lineInterpolation: step ? 'stepAfter' : 'linear',
        lineWidth: 1,
        showPoints: 'never',
        spanNulls: false,
        stacking: { group: 'A', mode: stack === 'percent' ? 'percent' : stack ? 'normal' : 'none' },
        thresholdsStyle: { mode: spec.thresholds ? 'dashed' : 'off' },
      },
    }),
    overrides: [
      ...colours(byName),
      ...(limit ? [{
        matcher: { id: 'byName', options: limit },
        properties: [
          { id: 'color', value: { fixedColor: 'red', mode: 'fixed' } },
          { id: 'custom.fillOpacity', value: 0 },
          { id: 'custom.lineStyle', value: { dash: [10, 10], fill: 'dash' } },
        ],
      }] : []),
    ],
  },
  options: {
    legend: { calcs: legend ?? (bars ? ['max'] : ['mean', 'max']), displayMode: 'table', placement: 'bottom', showLegend: true },
    tooltip: { mode: 'multi', sort: 'desc' },
  },
});

// heat is a histogram over time.
export const heat = (spec) => panel('heatmap', {
  ...spec,
  fieldConfig: {
    defaults: field({ ...spec, custom: { hideFrom: { legend: false, tooltip: false, viz: false }, scaleDistribution: { type: 'linear' } } }),
    overrides: [],
  },
  options: {
    calculate: false,
    cellGap: 1,
    cellValues: { unit: 'short' },
    color: { exponent: 0.5, fill: 'dark-orange', mode: 'scheme', reverse: false, scale: 'exponential', scheme: 'Oranges', steps: 64 },
    exemplars: { color: 'rgba(255,0,255,0.7)' },
    filterValues: { le: 1e-9 },
    legend: { show: true },
    rowsFrame: { layout: 'auto' },
    showValue: 'never',
    tooltip: { mode: 'single', showColorScale: true, yHistogram: false },
    yAxis: { axisPlacement: 'left', reverse: false, unit: spec.unit },
  },
});

// ranking is a bar a series, the longest first if the query sorts them.
export const ranking = (spec) => panel('bargauge', {
  ...spec,
  fieldConfig: { defaults: field({ min: 0, ...spec }), overrides: [] },
  options: {
    displayMode: 'basic',
    legend: { calcs: [], displayMode: 'list', placement: 'bottom', showLegend: false },
    maxVizHeight: 40,
    minVizHeight: 16,
    minVizWidth: 8,
    namePlacement: 'left',
    orientation: 'horizontal',
    reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
    showUnfilled: true,
    sizing: 'auto',
    valueMode: 'color',
  },
});

// column says how one column of a table looks: its unit, thresholds, mappings
// and links. The name is that which the table shows.
export const column = (name, { unit, thresholds, mappings, decimals, width, dataLinks }) => ({
  matcher: { id: 'byName', options: name },
  properties: [
    ...(unit ? [{ id: 'unit', value: unit }] : []),
    ...(decimals === undefined ? [] : [{ id: 'decimals', value: decimals }]),
    ...(thresholds ? [
      { id: 'thresholds', value: steps(thresholds) },
      { id: 'custom.cellOptions', value: { type: 'color-text' } },
    ] : []),
    ...(mappings ? [
      { id: 'mappings', value: mappings },
      { id: 'custom.cellOptions', value: { type: 'color-text' } },
    ] : []),
    ...(width ? [{ id: 'custom.width', value: width }] : []),
    ...(dataLinks ? [{ id: 'links', value: dataLinks }] : []),
  ],
});

// table joins the queries' series by their labels, one line each. `names` says
// what the columns are called, in the order in which they are shown; what is not
// among them is left out.
export const table = ({ names, columns, sortBy, ...spec }) => {
  const keys = Object.keys(names);
  return panel('table', {
    ...spec,
    fieldConfig: {
      defaults: field({ ...spec, custom: { align: 'auto', cellOptions: { type: 'auto' }, filterable: true, inspect: false } }),
      overrides: columns ?? [],
    },
    options: {
      cellHeight: 'sm',
      frameIndex: 0,
      showHeader: true,
      sortBy: sortBy ? [{ desc: sortBy.desc ?? false, displayName: sortBy.name }] : [],
    },
    transformations: [
      { id: 'merge', options: {} },
      { id: 'filterFieldsByName', options: { include: { names: keys } } },
      {
        id: 'organize',
        options: {
          excludeByName: {},
          indexByName: Object.fromEntries(keys.map((key, i) => [key, i])),
          renameByName: names,
        },
      },
    ],
  });
};

// states is a bar a series over time, whose colour says what state it was in.
export const states = ({ showValue, ...spec }) => panel('state-timeline', {
  ...spec,
  fieldConfig: {
    defaults: field({ ...spec, custom: { fillOpacity: 70, lineWidth: 0 } }),
    overrides: [],
  },
  options: {
    alignValue: 'left',
    legend: { displayMode: 'list', calcs: [], placement: 'bottom', showLegend: false },
    mergeValues: true,
    rowHeight: 0.8,
    showValue: showValue ?? 'auto',
    tooltip: { mode: 'single', sort: 'none' },
  },
});
