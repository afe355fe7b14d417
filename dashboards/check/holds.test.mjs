// Does the tile "Does the ban hold?" say so, and only then? Its query is asked of
// promtool, in situations that are good and bad.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { unbroken } from './broken.mjs';

const NOW = 7200; // of promtool's clock, in seconds

// expr is the query of a panel as Grafana sends it, with everything chosen.
const expr = (title) => unbroken().panels.find((panel) => panel.title === title).targets[0].expr
  .replaceAll('$job', 'sallyport').replaceAll('$instance', '.*');

// gateway is what one that is well shows of itself, save what `but` says.
const gateway = (instance, but = {}) => {
  const labels = `job="sallyport",instance="${instance}"${but.fleet ? `,fleet="${but.fleet}"` : ''}`;
  const edited = but.edited ?? NOW - 3600;
  const series = {
    [`up{${labels}}`]: but.up ?? 1,
    [`sallyport_policy_last_reload_successful{${labels}}`]: but.loaded ?? 1,
    [`sallyport_policy_modified_timestamp_seconds{${labels}}`]: edited,
    [`sallyport_policy_file_modified_timestamp_seconds{${labels}}`]: but.onDisk ?? edited,
    [`sallyport_policy_info{${labels},revision="${but.revision ?? 'r1'}"}`]: 1,
    [`sallyport_policy_list_stale{${labels},list="some"}`]: but.stale ?? 0,
  };
  // Of one that does not answer Prometheus has nothing else.
  return Object.entries(series).slice(0, but.up === 0 ? 1 : undefined);
};

const alert = (name, state) => [[`ALERTS{alertname="${name}",alertstate="${state}",job="sallyport",door="dns",severity="page"}`, 1]];

const well = [...gateway('a'), ...gateway('b'), ...gateway('c')];

const SITUATIONS = [
  ['three that are well', well, []],
  ['no gateway', [], null],
  ['one that is down', [...well, ...gateway('d', { up: 0 })], [['d', 'does not answer Prometheus']]],
  ['all that are down', gateway('a', { up: 0 }), [['a', 'does not answer Prometheus']]],
  ['an edit refused', [...well, ...gateway('d', { loaded: 0, onDisk: NOW - 600 })], [['d', 'the policy on disk has a mistake, an older one decides']]],
  ['an edit not noticed', [...well, ...gateway('d', { onDisk: NOW - 61 })], [['d', 'the policy on disk is newer than the one that decides']]],
  ['an edit not noticed, soon after another', [...well, ...gateway('d', { edited: NOW - 70, onDisk: NOW - 65 })], [['d', 'the policy on disk is newer than the one that decides']]],
  ['an edit of just now', [...well, ...gateway('d', { onDisk: NOW - 30 })], []],
  ['one by another revision', [...well, ...gateway('d', { revision: 'r2' })], [['d', 'decides by another revision than most']]],
  ['another fleet by another revision', [...well, ...gateway('d', { fleet: 'site', revision: 'r2' })], []],
  ['a stale list', [...well, ...gateway('d', { stale: 1 })], [['d', 'a list is stale']]],
  ['a door that refuses nothing', [...well, ...alert('SallyportBlocksGone', 'firing')], [[undefined, 'refuses nothing any more (SallyportBlocksGone)']]],
  ['a door that may refuse nothing', [...well, ...alert('SallyportBlocksGone', 'pending')], []],
  ['an alert of another kind', [...well, ...alert('SallyportPanics', 'firing')], []],
  ['several at once', [...well, ...gateway('d', { up: 0 }), ...gateway('e', { stale: 1, revision: 'r2' })], [
    ['d', 'does not answer Prometheus'], ['e', 'a list is stale'], ['e', 'decides by another revision than most']]],
];

// complaint is what promtool says where the tile or the table are not as they
// should be; none: an empty text.
const complaint = (series, expected) => {
  const folder = mkdtempSync(join(tmpdir(), 'sallyport-holds-'));
  try {
    const file = join(folder, 'test.json'); // YAML, as every JSON is
    writeFileSync(file, JSON.stringify({
      evaluation_interval: '1m',
      tests: [{
        interval: '1m',
        input_series: series.map(([name, value]) => ({ series: name, values: `${value}x${NOW / 60}` })),
        promql_expr_test: [
          {
            expr: `count by (instance, problem) (${expr('What stands in its way')})`,
            eval_time: `${NOW}s`,
            exp_samples: (expected ?? []).map(([instance, problem]) => ({ labels: `{${instance ? `instance="${instance}",` : ''}problem="${problem}"}`, value: 1 })),
          },
          {
            expr: expr('Does the ban hold?'),
            eval_time: `${NOW}s`,
            exp_samples: expected === null ? [] : [{ labels: '{}', value: expected.length }],
          },
        ],
      }],
    }));
    const { status, stdout, stderr } = spawnSync('promtool', ['test', 'rules', file], { encoding: 'utf8' });
    return status === 0 ? '' : stdout + stderr;
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const promtool = () => {
  try {
    execFileSync('promtool', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
};

if (!promtool()) {
  test('the ban holds', { skip: process.env.SALLYPORT_E2E_REQUIRE !== '1' && 'promtool is not here' },
    () => assert.fail('promtool is not here, and SALLYPORT_E2E_REQUIRE=1'));
} else {
  for (const [what, series, expected] of SITUATIONS) {
    test(`the ban, with ${what}`, () => assert.equal(complaint(series, expected), ''));
  }
  test('a tile that is wrong is seen', () => assert.match(complaint(well, [['a', 'does not answer Prometheus']]), /FAILED/));
}
