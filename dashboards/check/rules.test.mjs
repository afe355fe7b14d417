import assert from 'node:assert/strict';
import { test } from 'node:test';
import { broken, unbroken } from './broken.mjs';
import { problems } from './rules.mjs';

const everything = () => true;
const others = { 'doors.json': 'sallyport-doors', 'fleet.json': 'sallyport-fleet' };

// complaints checks a dashboard as if the other two were beside it.
const complaints = (d, exists = everything) => {
  const beside = Object.fromEntries(Object.entries(others).map(([file, uid]) => [file, { ...unbroken(), uid }]));
  return problems({ 'the-ban.json': d, ...beside }, exists)['the-ban.json'];
};

const setExpr = (change) => (d, first) => {
  const target = first('timeseries').targets[0];
  target.expr = change(target.expr);
};

const MISTAKES = [
  ['an old schema', (d) => { d.schemaVersion = 36; }, /schemaVersion is 36/],
  ['an id of one installation', (d) => { d.id = 7; }, /id belongs to one installation/],
  ['a uid that is not ours', (d) => { d.uid = 'Y2xhdWRl'; }, /is not sallyport-/],
  ['a uid twice', (d) => { d.uid = 'sallyport-doors'; }, /another dashboard has the uid/],
  ['a lost tag', (d) => { d.tags = []; }, /tag sallyport/],
  ['no refresh', (d) => { d.refresh = ''; }, /refresh/],
  ['crosshairs apart', (d) => { d.graphTooltip = 0; }, /crosshair/],
  ['an id twice', (d) => { d.panels[1].id = d.panels[0].id; }, /has the id of panel/],
  ['no title', (d, first) => { first('stat').title = ' '; }, /has no title/],
  ['no description', (d, first) => { delete first('heatmap').description; }, /has no description/],
  ['no unit', (d, first) => { delete first('timeseries').fieldConfig.defaults.unit; }, /has the unit undefined/],
  ['a misspelt unit', (d, first) => { first('timeseries').fieldConfig.defaults.unit = 'seconds'; }, /has the unit "seconds"/],
  ['a misspelt unit of a column', (d, first) => { first('table').fieldConfig.overrides[0].properties.push({ id: 'unit', value: 'sec' }); }, /has the unit "sec"/],
  ['a tile that is never red', (d, first) => { first('stat').fieldConfig.defaults.thresholds.steps.pop(); }, /one colour only/],
  ['a tile that is green without data', (d, first) => { first('stat').fieldConfig.defaults.mappings.pop(); }, /where there is no data/],
  ['no legend', (d, first) => { delete first('timeseries').options.legend; }, /has no legend$/],
  ['a sum of overlapping windows', (d, first) => { first('timeseries').options.legend.calcs = ['sum']; }, /adds up/],
  ['a nameless query', (d, first) => { first('timeseries').targets[0].legendFormat = ''; }, /query A has no legend/],
  ['panels on each other', (d) => { d.panels[1].gridPos.x -= 1; }, /overlaps panel/],
  ['a panel beyond the edge', (d) => { d.panels[0].gridPos.x = 22; }, /outside the grid/],
  ['a row that hides panels', (d, first) => { first('row').collapsed = true; }, /hides its panels/],
  ['no query', (d, first) => { first('stat').targets = []; }, /has no query/],
  ['a refId twice', (d, first) => { const t = first('table'); t.targets.push(structuredClone(t.targets[0])); }, /two queries of one refId/],
  ['a data source of one installation', (d, first) => { first('stat').datasource.uid = 'PBFA97CFB590B2093'; }, /not the variable datasource/],
  ['the same in a query', (d, first) => { first('stat').targets[0].datasource.uid = 'default'; }, /not the variable datasource/],
  ['the same in an annotation', (d) => { d.annotations.list[0].datasource.uid = 'default'; }, /annotation .* not the variable datasource/],
  ['every job', setExpr((e) => e.replace('job=~"$job",', '')), /is not chosen by \$job/],
  ['every gateway', setExpr((e) => e.replace('instance=~"$instance",', '')), /is not chosen by \$instance/],
  ['no selector at all', setExpr(() => 'sum(go_goroutines)'), /go_goroutines is not chosen by \$job/],
  ['one gateway written out', setExpr((e) => e.replace('"$instance"', '"gw1:9180"')), /is not chosen by \$instance/],
  ['a fixed window', setExpr((e) => e.replace('$__rate_interval', '5m')), /over \[5m\]/],
  ['a counter without a rate', setExpr(() => 'sum(sallyport_decisions_total{job=~"$job",instance=~"$instance"})'), /is a counter/],
  ['people, grouped', setExpr((e) => e.replace('by (app)', 'by (user)')), /groups by the label user/],
  ['people, joined', setExpr((e) => `${e} * on (app) group_left (client) ${e}`), /groups by the label client/],
  ['people, chosen', setExpr((e) => e.replace('{', '{user=~".+",')), /is chosen by the label user/],
  ['people, shown', (d, first) => { first('timeseries').targets[0].legendFormat = '{{ user }}'; }, /shows the label user/],
  ['people, in a column', (d, first) => { first('table').transformations[1].options.include.names.push('host'); }, /shows the column host/],
  ['people, in an annotation', (d) => { d.annotations.list[0].textFormat = '{{user}}'; }, /annotation .* shows the label user/],
  ['every column', (d, first) => { first('table').transformations.length = 1; }, /name its columns/],
  ['an override for nothing', (d, first) => { first('table').fieldConfig.overrides[0].matcher.options = 'Gatewy'; }, /has an override for the column "Gatewy"/],
  ['what is no PromQL', setExpr((e) => `${e} ; drop`), /cannot read/],
  ['a variable that is not there', setExpr((e) => e.replace('app=~"$app"', 'app=~"$apps"')), /variable apps is used, and not there/],
  ['a variable that nobody uses', (d) => { d.templating.list.push({ ...d.templating.list[3], name: 'rcode' }); }, /variable rcode is there, and not used/],
  ['a variable lost', (d) => { d.templating.list = d.templating.list.filter((v) => v.name !== 'instance'); }, /variable instance is missing/],
  ['a variable of people', (d) => { d.templating.list[3].query = 'label_values(sallyport_decisions_total{job=~"$job",instance=~"$instance"}, user)'; }, /has the values of user/],
  ['a variable for all gateways', (d) => { d.templating.list[3].query = 'label_values(sallyport_decisions_total, door)'; }, /variable door: .* is not chosen by \$job/],
  ['a single choice', (d) => { d.templating.list[4].multi = false; }, /does not take several/],
  ['a link to no dashboard', (d) => { d.links[0].url = '/d/sallyport-door'; }, /leads to no dashboard/],
  ['a link elsewhere', (d) => { d.links[0].url = 'https://example.com/'; }, /leads neither to/],
];

test('the committed dashboards have no problem', () => {
  assert.deepEqual(complaints(unbroken()), []);
});

for (const [what, breaking, expected] of MISTAKES) {
  test(`a rule sees ${what}`, () => {
    const found = complaints(broken(breaking));
    assert.ok(found.some((p) => expected.test(p)), `expected ${expected} among ${JSON.stringify(found, null, 1)}`);
  });
}

test('a rule sees a page that is not there', () => {
  const found = complaints(unbroken(), (path) => path !== 'docs/interception.md');
  assert.deepEqual(found, ['https://github.com/sallyport/sallyport/blob/main/docs/interception.md leads to a page that is not there']);
});
