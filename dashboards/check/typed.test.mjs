import assert from 'node:assert/strict';
import { test } from 'node:test';
import { broken, unbroken } from './broken.mjs';
import { typeErrors } from './typed.mjs';

const MISTAKES = [
  ['a key that Grafana does not know', (d) => { d.refreshh = '30s'; }, /refreshh/],
  ['a kind of panel that is gone', (d, first) => { first('timeseries').type = 'graph'; }, /graph/],
  ['a misspelt option', (d, first) => { first('stat').options.colourMode = 'value'; }, /colourMode/],
  ['an option of another panel', (d, first) => { first('heatmap').options.textMode = 'value'; }, /textMode/],
  ['a word that an option does not take', (d, first) => { first('stat').options.graphMode = 'curve'; }, /curve/],
  ['a lost option', (d, first) => { delete first('stat').options.reduceOptions; }, /reduceOptions/],
  ['a misspelt setting of lines', (d, first) => { first('timeseries').fieldConfig.defaults.custom.linewidth = 1; }, /linewidth/],
  ['a setting of lines on a tile', (d, first) => { first('stat').fieldConfig.defaults.custom = { lineWidth: 1 }; }, /never/],
  ['a number as text', (d, first) => { first('timeseries').fieldConfig.defaults.min = '0'; }, /number/],
  ['a threshold without a colour', (d, first) => { delete first('stat').fieldConfig.defaults.thresholds.steps[0].color; }, /color/],
  ['a mapping of the old kind', (d, first) => { first('stat').fieldConfig.defaults.mappings = [{ type: 1, text: 'up', value: '1' }]; }, /type/],
  ['an override of what is not there', (d, first) => { first('table').fieldConfig.overrides[0].properties[0].id = 'custom.colour'; }, /custom.colour/],
  ['an override by another type', (d, first) => { first('table').fieldConfig.overrides[0].properties[0] = { id: 'decimals', value: 'two' }; }, /string/],
  ['a query of the old kind', (d, first) => { first('stat').targets[0].intervalFactor = 2; }, /intervalFactor/],
  ['a query without an expression', (d, first) => { delete first('stat').targets[0].expr; }, /expr/],
  ['a data source by its name', (d, first) => { first('stat').datasource = 'Prometheus'; }, /'string' is not assignable/],
  ['an unknown transformation', (d, first) => { first('table').transformations[0].id = 'mergeAll'; }, /mergeAll/],
  ['a variable of an unknown kind', (d) => { d.templating.list[1].type = 'queries'; }, /queries/],
  ['a refresh that there is not', (d) => { d.templating.list[1].refresh = 9; }, /9/],
  ['an annotation without a query', (d) => { delete d.annotations.list[0].target; }, /target/],
  ['a link without a kind', (d) => { delete d.links[0].type; }, /type/],
];

const errors = typeErrors({
  good: unbroken(),
  ...Object.fromEntries(MISTAKES.map(([what, breaking]) => [what, broken(breaking)])),
});

test('the committed dashboards are of the type', () => assert.deepEqual(errors.good, []));

for (const [what, , expected] of MISTAKES) {
  test(`the types see ${what}`, () => {
    assert.ok(errors[what].some((e) => expected.test(e)), `expected ${expected} among ${JSON.stringify(errors[what])}`);
  });
}
