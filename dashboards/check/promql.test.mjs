import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parse } from './promql.mjs';

const CASES = [
  ['up', ['up'], []],
  ['time() - max(a{x="1"})', ['a'], []],
  ['sum by (le, app) (rate(a_bucket{x=~"$x"}[$__rate_interval]))', ['a_bucket[$__rate_interval]'], [['le', 'app']]],
  ['sum(a) by (x) / on (y) group_left (z) b', ['a', 'b'], [['x'], ['y'], ['z']]],
  ['histogram_quantile(0.99, a) or 0 * count(b == 0)', ['a', 'b'], []],
  ['label_replace(a, "x", "$1 (b)", "y", "(.*)")', ['a'], []],
  ['topk by (j) (1, a unless b offset $__interval)', ['a', 'b'], [['j']]],
  ['min(a < +Inf) > 1e-9', ['a'], []],
];

for (const [expr, series, groupings] of CASES) {
  test(`parse ${expr}`, () => {
    const got = parse(expr);
    assert.deepEqual(got.groupings, groupings);
    assert.deepEqual(got.series.map((s) => s.name + (s.window && `[${s.window}]`)), series);
  });
}

test('parse keeps matchers', () => {
  assert.deepEqual(parse('a{x="1",y!~"b|c"}').series[0].matchers,
    [{ label: 'x', operator: '=', value: '1' }, { label: 'y', operator: '!~', value: 'b|c' }]);
});

for (const expr of ['a{x=1}', 'a{x="1" y="2"}', 'a ; b', "a{x='1'}"]) {
  test(`parse refuses ${expr}`, () => assert.throws(() => parse(expr), /cannot read/));
}
