// The ban: does it hold, whom does it meet, and is the policy the intended one?
import { BAN, RATE, SEL, buckets, now, over, quantiles, rows } from './query.mjs';
import { ACTIONS, absent, column, from, heat, lines, ranking, stat, states, table, value } from './panels.mjs';
import { BOARDS, doc } from './addresses.mjs';
import { board } from './board.mjs';

// What the gateway refuses on its own account, whatever the policy says of apps:
// names by which browsers would leave our DNS, private networks, and the like.
// These refusals are usual, and would hide a ban that is met seldom.
const OWN = 'canary|deny-networks|client-hello|sign-in|mismatch';

const blocked = `sallyport_decisions_total{${BAN},action="block",rule!~"${OWN}"}`;
const warned = `sallyport_decisions_total{${BAN},action="warn",rule!~"${OWN}"}`;
const refused = `sallyport_decisions_total{${BAN},action=~"block|warn",rule!~"${OWN}"}`;
const wouldBlock = `sallyport_would_block_total{${BAN}}`;

// Every reason to doubt the ban, a series each. The stat counts them and the
// table names them, so the two cannot contradict each other.
const problem = (name, expr) => `label_replace(${expr}, "problem", "${name}", "", "")`;
const revision = (by) => `count by (${by}) (sallyport_policy_info{${SEL}})`;
const REFUSED = `(max by (job, instance) (sallyport_policy_last_reload_successful{${SEL}}) == 0)`;
const ON_DISK = `max by (job, instance) (sallyport_policy_file_modified_timestamp_seconds{${SEL}})`;
const IN_FORCE = `max by (job, instance) (sallyport_policy_modified_timestamp_seconds{${SEL}})`;
const PROBLEMS = [
  problem('does not answer Prometheus', `max by (job, instance) (up{${SEL}}) == 0`),
  problem('the policy on disk has a mistake, an older one decides', REFUSED),
  // A minute is far more than an edit needs, and less than anyone should wait.
  problem('the policy on disk is newer than the one that decides',
    `((time() - ${ON_DISK} > 60) and (${ON_DISK} > ${IN_FORCE}) unless ${REFUSED})`),
  // Fleets, which rules.yaml explains, may have policies of their own.
  problem('decides by another revision than most',
    `${revision('job, fleet, instance, revision')} unless on (job, fleet, revision) topk by (job, fleet) (1, ${revision('job, fleet, revision')})`),
  problem('a list is stale', `max by (job, instance, list) (sallyport_policy_list_stale{${SEL}}) == 1`),
  // Whether a door has stopped refusing takes a comparison with yesterday, which
  // the alerts make. Theirs are not about one gateway, hence the empty choice.
  'label_replace(max by (job, fleet, alertname, door, app) ('
    + 'ALERTS{alertname=~"SallyportBlocksGone|SallyportAppBlocksGone",alertstate="firing",job=~"$job",instance=~"$instance|"}'
    + '), "problem", "refuses nothing any more ($1)", "alertname", "(.*)")',
].join(' or ');

const clickApp = (label) => [{
  title: 'Only this app',
  url: `/d/${BOARDS.ban}?\${__url_time_range}&\${datasource:queryparam}&\${job:queryparam}&\${instance:queryparam}&\${door:queryparam}&\${group:queryparam}&var-app=${label}`,
}];

const glance = [
  stat({
    w: 4, h: 4, title: 'Does the ban hold?', unit: 'short', background: true,
    description: `Green while every gateway answers, and all of them decide by the policy that is on disk, with lists that are fresh. Otherwise the table *What stands in its way* names every reason for doubt. It does not know whether the policy says what you mean: [test it](${doc('policy-language.md')}).`,
    alerts: ['SallyportBlocksGone', 'SallyportPolicyReloadFailing', 'SallyportPolicyNotInForce', 'SallyportPolicyRevisionsDiffer'],
    thresholds: ['green', [1, 'red']],
    mappings: [value(0, 'Holds', 'green'), from(1, 'In doubt', 'red'), absent('No gateway is scraped', 'red')],
    targets: now([`count(${PROBLEMS}) or 0 * count(up{${SEL}})`, 'reasons for doubt']),
  }),
  stat({
    w: 3, h: 4, title: 'Blocked now', unit: 'reqps', spark: true, noValue: '0',
    description: 'Names and connections refused a second. Nought for long while people work is suspicious: either everyone has given up, or they have found a way round.',
    alerts: ['SallyportBlocksGone', 'SallyportRefusalsSurge'],
    thresholds: ['blue'],
    targets: over([`sum(rate(${blocked}${RATE}))`, 'blocked']),
  }),
  stat({
    w: 3, h: 4, title: 'Would be blocked', unit: 'reqps', spark: true, noValue: '0',
    description: 'Let through, and refused if the rules in rehearsal (`monitor`, `report-only`) were in force. Look below at who they would meet before you put them in force.',
    thresholds: ['blue'],
    targets: over([`sum(rate(${wouldBlock}${RATE}))`, 'would be blocked']),
  }),
  stat({
    w: 4, h: 4, title: 'Policy revision', unit: 'none', text: 'value_and_name',
    description: 'The revisions in force, each with the number of gateways that decide by it. More than one for longer than a roll-out takes: see *Fleet*.',
    alerts: ['SallyportPolicyRevisionsDiffer'],
    thresholds: ['blue'], noValue: 'none',
    targets: now([`count by (revision) (sallyport_policy_info{${SEL}})`, '{{revision}}']),
  }),
  stat({
    w: 3, h: 4, title: 'Policy age', unit: 's', decimals: 1,
    description: 'Since the newest edit that is in force. Older than the last edit that you made: it has not arrived.',
    alerts: ['SallyportPolicyNotInForce'],
    thresholds: ['blue'], noValue: 'unknown',
    targets: now([`time() - max(sallyport_policy_modified_timestamp_seconds{${SEL}})`, 'age']),
  }),
  stat({
    w: 2, h: 4, title: 'Exceptions', unit: 'none',
    description: 'Exceptions of the policy that are in force now. Each is a hole on purpose; every one has an end.',
    thresholds: ['green', [1, 'orange']], mappings: [absent('No data', 'text')],
    targets: now([`max(sallyport_policy_exceptions{${SEL},state="in_force"})`, 'in force']),
  }),
  stat({
    w: 3, h: 4, title: 'Time to enforce, p99', unit: 's',
    description: 'From the write of a policy file until both doors enforce it, open tunnels included, in the time range shown. Above 1 s: too many tunnels for the machine, or files that are written slowly.',
    thresholds: ['green', [0.25, 'orange'], [1, 'red']],
    mappings: [absent('No edits', 'text')],
    targets: now([`histogram_quantile(0.99, sum by (le) (increase(sallyport_policy_time_to_enforce_seconds_bucket{${SEL}}[$__range])))`, 'p99']),
  }),
  stat({
    w: 2, h: 4, title: 'Entries lost', unit: 'short', decimals: 0, background: true,
    description: `Entries of the decision log that were dropped in the time range shown, because the disk was slower than the traffic. The ban holds all the same, and the counts here stay exact; the [log](${doc('decision-log.md')}) has gaps.`,
    alerts: ['SallyportDecisionLogDropping'],
    thresholds: ['green', [1, 'red']], mappings: [absent('No data', 'text')],
    targets: now([`ceil(sum(increase(sallyport_audit_dropped_total{${SEL}}[$__range])))`, 'lost']),
  }),
  lines({
    w: 8, h: 8, title: 'Blocked, by app', unit: 'reqps', noValue: 'Nothing blocked.', stack: true,
    description: 'Refusals a second at both doors. A sudden rise is a new client that does not give up, or a rule that meets more than was meant.',
    alerts: ['SallyportAppBlocksGone', 'SallyportRefusalsSurge'],
    targets: over([`sum by (app) (rate(${blocked}${RATE}))`, '{{app}}']),
  }),
  lines({
    w: 8, h: 8, title: 'Blocked, by group', unit: 'reqps', noValue: 'Nothing blocked.', stack: true,
    description: 'The first group of the policy through which the client was matched; unidentified: in none.',
    targets: over([`sum by (group) (rate(${blocked}${RATE}))`, '{{group}}']),
  }),
  lines({
    w: 8, h: 8, title: 'Blocked, by rule', unit: 'reqps', noValue: 'Nothing blocked.', stack: true,
    description: 'Which rule refuses. `default`: no rule decided, and the policy refuses what it does not name.',
    targets: over([`sum by (rule) (rate(${blocked}${RATE}))`, '{{rule}}']),
  }),
  lines({
    w: 8, h: 8, title: 'The DNS door', unit: 'reqps', stack: true, byName: ACTIONS,
    description: 'What became of names. Compare with the proxy door beside it: the same policy decides at both, and a ban that shows at one door only is worth a look at how clients reach the other.',
    alerts: ['SallyportBlocksGone'],
    targets: over([`sum by (action) (rate(sallyport_decisions_total{${BAN},door="dns"}${RATE}))`, '{{action}}']),
  }),
  lines({
    w: 8, h: 8, title: 'The proxy door', unit: 'reqps', stack: true, byName: ACTIONS,
    description: 'What became of connections. Traffic without a single block while the DNS door refuses: clients stop at the name, as they should.',
    alerts: ['SallyportBlocksGone'],
    targets: over([`sum by (action) (rate(sallyport_decisions_total{${BAN},door="proxy"}${RATE}))`, '{{action}}']),
  }),
  table({
    w: 8, h: 8, title: 'What stands in its way', unit: 'none', noValue: 'Nothing: the ban holds.',
    description: 'Every reason to doubt the ban, one a line; empty is good. The runbooks say what to do about each.',
    names: { instance: 'Gateway', problem: 'Problem', list: 'List', revision: 'Revision', door: 'Door', app: 'App' },
    sortBy: { name: 'Gateway' },
    columns: [column('Gateway', {
      dataLinks: [{ title: 'This gateway', url: `/d/${BOARDS.doors}?\${__url_time_range}&\${datasource:queryparam}&\${job:queryparam}&var-instance=\${__value.raw}` }],
    })],
    targets: rows(PROBLEMS),
  }),
];

const rehearsal = {
  title: 'Rehearsal: what monitored and report-only rules would refuse',
  panels: ['app', 'group', 'rule'].map((by) => lines({
    w: 8, h: 7, title: `Would be blocked, by ${by}`, unit: 'reqps', stack: true, noValue: 'Nothing is rehearsed, or met.',
    description: `Requests a second that were let through, and would be refused, by ${by}. Put the rules in force once nothing here surprises you.`,
    targets: over([`sum by (${by}) (rate(${wouldBlock}${RATE}))`, `{{${by}}}`]),
  })),
};

const most = {
  title: 'Who meets it',
  panels: [
    ranking({
      w: 8, h: 9, title: 'Most refused apps', unit: 'short', decimals: 0, noValue: 'none',
      description: 'Refusals in the time range shown. Click an app to see it alone.',
      thresholds: ['red'], dataLinks: clickApp('${__field.labels.app}'),
      targets: now([`sort_desc(topk(10, sum by (app) (increase(${blocked}[$__range])) > 0))`, '{{app}}']),
    }),
    table({
      w: 16, h: 9, title: 'Decisions, by app, rule and group', unit: 'short', decimals: 0, noValue: 'No decisions.',
      description: 'How often each combination was decided in the time range shown, the 50 most refused first. Names and people are in the decision log alone.',
      names: { app: 'App', rule: 'Rule', group: 'Group', 'Value #A': 'Blocked', 'Value #B': 'Warned', 'Value #C': 'Would be blocked' },
      sortBy: { name: 'Blocked', desc: true },
      columns: [column('App', { dataLinks: clickApp('${__value.raw}') })],
      targets: rows(
        `topk(50, sum by (app, rule, group) (increase(${blocked}[$__range])) > 0)`,
        `topk(50, sum by (app, rule, group) (increase(${warned}[$__range])) > 0)`,
        `topk(50, sum by (app, rule, group) (increase(${wouldBlock}[$__range])) > 0)`,
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Share blocked or warned, by door', unit: 'percentunit', max: 1, byName: { dns: 'blue', proxy: 'orange' },
      description: 'Of all that was decided. It moves slowly; a jump is a new rule, a new program, or a mistake in a list.',
      targets: over([`sum by (door) (rate(${refused}${RATE})) / sum by (door) (rate(sallyport_decisions_total{${BAN}}${RATE}))`, '{{door}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Refused on our own account', unit: 'reqps', noValue: 'None.', stack: true,
      description: 'By rule: names by which browsers would go round our DNS (`canary`), private networks (`deny-networks`), sign-ins that failed, and connections that contradict themselves. They are in no other panel but those of the doors.',
      targets: over([`sum by (rule) (rate(sallyport_decisions_total{${BAN},action="block",rule=~"${OWN}"}${RATE}))`, '{{rule}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Tunnels closed by the policy', unit: 'short', bars: true, decimals: 1,
      description: 'Open connections, meetings among them, that a new policy, a date or the end of an exception has cut off.',
      targets: over([`sum(increase(sallyport_proxy_tunnels_closed_total{${SEL},reason="policy"}${RATE}))`, 'closed']),
    }),
  ],
};

const enforceBuckets = `sum by (le) (increase(sallyport_policy_time_to_enforce_seconds_bucket{${SEL}}${RATE}))`;

const policy = {
  title: 'The policy',
  panels: [
    states({
      w: 12, h: 7, title: 'Revisions in force', unit: 'none', showValue: 'always',
      description: 'A bar for every revision while a gateway decides by it, with the number of such gateways. Two at a time: a roll-out, or gateways that disagree.',
      thresholds: ['blue'],
      targets: over([`count by (revision) (sallyport_policy_info{${SEL}})`, '{{revision}}']),
    }),
    lines({
      w: 6, h: 7, title: 'Edits', unit: 'short', bars: true, decimals: 1,
      byName: { success: 'green', unchanged: 'blue', failure: 'red' },
      description: 'Attempts to load the policy. `failure`: the edit has a mistake, the policy before it keeps deciding, and the log says file, line and column.',
      alerts: ['SallyportPolicyReloadFailing'],
      targets: over([`sum by (result) (increase(sallyport_policy_reloads_total{${SEL}}${RATE}))`, '{{result}}']),
    }),
    stat({
      w: 6, h: 7, title: 'Next change of a verdict', unit: 'dateTimeFromNow',
      description: 'When a schedule, a date or an exception next changes what is decided, by itself and without an edit.',
      thresholds: ['blue'], mappings: [absent('Nothing ahead', 'text')],
      targets: now([`1000 * min(sallyport_policy_next_edge_timestamp_seconds{${SEL}})`, 'next']),
    }),
    heat({
      w: 8, h: 8, title: 'Time to enforce', unit: 's',
      description: 'How long edits took from the write of the file until both doors enforced them.',
      targets: buckets(enforceBuckets),
    }),
    lines({
      w: 8, h: 8, title: 'Time to enforce, quantiles', unit: 's', legend: ['max'],
      description: 'The same as quantiles; there is a point only where there were edits.',
      targets: quantiles(enforceBuckets),
    }),
    lines({
      w: 8, h: 8, title: 'Age of the policy', unit: 's', legend: ['lastNotNull'],
      description: 'Since the newest edit that is in force, and since the policy on disk was last found good. The first falls with every edit. Where the second grows while you edit, nobody looks at the files.',
      targets: over(
        [`time() - max(sallyport_policy_modified_timestamp_seconds{${SEL}})`, 'since the edit'],
        [`time() - min(sallyport_policy_last_reload_success_timestamp_seconds{${SEL}})`, 'since it was found good'],
      ),
    }),
    lines({
      w: 12, h: 7, title: 'Rules in force, by action', unit: 'none', stack: true, step: true, byName: ACTIONS, legend: ['lastNotNull'],
      description: 'How many rules the policy has. A fall that nobody intended is a file that was saved half.',
      targets: over([`max by (action) (sallyport_policy_rules{${SEL}})`, '{{action}}']),
    }),
    lines({
      w: 12, h: 7, title: 'Exceptions', unit: 'none', step: true, legend: ['lastNotNull'],
      byName: { in_force: 'orange', upcoming: 'blue', expired: 'text' },
      description: 'Of the policy, by state. Expired ones do nothing; take them out when you edit next.',
      targets: over([`max by (state) (sallyport_policy_exceptions{${SEL}})`, '{{state}}']),
    }),
  ],
};

const told = {
  title: 'How people are told',
  panels: [
    lines({
      w: 8, h: 8, title: 'Continued past a warning, by rule', unit: 'short', noValue: 'Nobody has.', bars: true, stack: true, decimals: 1,
      description: `Grants given by [coaching](${doc('coaching.md')}). A rule past which everybody continues teaches nobody: block, or allow.`,
      targets: over([`sum by (rule) (increase(sallyport_coaching_grants_total{${SEL}}${RATE}))`, '{{rule}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Could not continue', unit: 'short', noValue: 'The portal is off.', bars: true, stack: true, decimals: 1,
      description: 'Attempts to continue that were refused, by reason. `token` and `client` in numbers: somebody passes links on, or gateways do not share their key.',
      targets: over([`sum by (reason) (increase(sallyport_coaching_refused_total{${SEL}}${RATE}))`, '{{reason}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Grants held', unit: 'none', noValue: 'The portal is off.', legend: ['lastNotNull', 'max'],
      description: 'How many people may continue at the moment because they gave a reason.',
      alerts: ['SallyportCoachingNearlyFull'],
      targets: over([`sum(sallyport_coaching_grants{${SEL}})`, 'held']),
    }),
    lines({
      w: 8, h: 8, title: 'Pages over HTTPS', unit: 'short', noValue: 'Interception is off.', bars: true, stack: true, decimals: 1,
      byName: { shown: 'green', untrusted: 'red', unused: 'blue', no_leaf: 'orange', failed: 'dark-red' },
      description: `Refused connections that were answered with a [page](${doc('interception.md')}). \`untrusted\`: the computer lacks your authority, and its user sees a certificate warning.`,
      targets: over([`sum by (result) (increase(sallyport_proxy_intercepted_total{${SEL}}${RATE}))`, '{{result}}']),
    }),
    stat({
      w: 4, h: 8, title: 'Pages not trusted', unit: 'percentunit', decimals: 1, background: true,
      description: 'The share of pages over HTTPS, in the time range shown, that computers did not trust. Above a few in a hundred: the authority has not reached all of them.',
      alerts: ['SallyportClientsWithoutAuthority'],
      thresholds: ['green', [0.02, 'orange'], [0.1, 'red']], mappings: [absent('No pages', 'text')],
      targets: now([`sum(increase(sallyport_proxy_intercepted_total{${SEL},result="untrusted"}[$__range])) / sum(increase(sallyport_proxy_intercepted_total{${SEL}}[$__range]))`, 'untrusted']),
    }),
    lines({
      w: 4, h: 8, title: 'Certificates signed', unit: 'ops', noValue: 'Interception is off.',
      description: 'For names that are refused, by the authority for pages. One that is kept is not signed again; without end, somebody asks for names that are made up.',
      targets: over([`sum(rate(sallyport_proxy_interception_leaves_signed_total{${SEL}}${RATE}))`, 'signed']),
    }),
    lines({
      w: 8, h: 8, title: 'Contradictions', unit: 'short', noValue: 'None.', bars: true, stack: true, decimals: 1,
      description: `Connections whose parts name [different destinations](${doc('consistency.md')}), and what became of them. Many with \`allow\` or \`report\`: a way round the ban that somebody uses, or a program that is odd.`,
      targets: over([`sum by (kind, action) (increase(sallyport_proxy_mismatches_total{${SEL}}${RATE})) > 0`, '{{kind}} {{action}}']),
    }),
  ],
};

export const ban = board({
  uid: BOARDS.ban,
  title: 'sallyport: The ban',
  description: 'Does the ban hold? Blocked and would-block by app, group and rule, both doors side by side, and the policy that decides.',
  from: 'now-6h',
  decisions: true,
  sections: [{ panels: glance }, rehearsal, most, policy, told],
});
