// Fleet: are all gateways the same, and will they still be tomorrow?
import { SEL, RATE, now, over, rows } from './query.mjs';
import { absent, column, lines, stat, states, table, value } from './panels.mjs';
import { BOARDS, doc } from './addresses.mjs';
import { board } from './board.mjs';

const DAY = 86400;
const each = (name, match = '') => `max by (instance) (${name}{${SEL}${match}})`;

const MODIFIED = `sallyport_policy_modified_timestamp_seconds{${SEL}}`;

const ON_DISK = each('sallyport_policy_file_modified_timestamp_seconds');

const certificates = [
  `label_replace(min by (instance, transport) (sallyport_dns_certificate_not_after_timestamp_seconds{${SEL}}), "certificate", "dns $1", "transport", "(.*)")`,
  `label_replace(min by (instance) (sallyport_proxy_certificate_not_after_timestamp_seconds{${SEL}}), "certificate", "proxy tls", "", "")`,
  `label_replace(min by (instance) (sallyport_proxy_interception_ca_not_after_timestamp_seconds{${SEL}}), "certificate", "authority for block pages", "", "")`,
].map((expr) => `(${expr} - time()) / ${DAY}`).join(' or ');

const toDoors = [{
  title: 'Doors of this gateway',
  url: `/d/${BOARDS.doors}?\${__url_time_range}&\${datasource:queryparam}&\${job:queryparam}&var-instance=\${__value.raw}`,
}];

const YES = [value(0, 'no', 'red'), value(1, 'yes', 'green')];
const NEEDED = [value(0, 'no', 'green'), value(1, 'yes', 'orange')];

const glance = [
  stat({
    w: 3, h: 4, title: 'Gateways', unit: 'none',
    description: 'That Prometheus reaches.',
    thresholds: ['blue'], mappings: [absent('None is scraped', 'red')],
    targets: now([`sum(up{${SEL}})`, 'up']),
  }),
  stat({
    w: 3, h: 4, title: 'Away', unit: 'none', background: true,
    description: 'Gateways that are configured in Prometheus and do not answer it.',
    alerts: ['SallyportInstanceDown', 'SallyportDown'],
    thresholds: ['green', [1, 'red']], mappings: [absent('None is scraped', 'red')],
    targets: now([`count(up{${SEL}}) - sum(up{${SEL}})`, 'away']),
  }),
  stat({
    w: 3, h: 4, title: 'Revisions in force', unit: 'none', background: true,
    description: 'In one fleet. More than one is usual for the seconds of a roll-out. For longer: a gateway has not got the policy, or has refused it.',
    alerts: ['SallyportPolicyRevisionsDiffer'],
    thresholds: ['green', [2, 'orange'], [3, 'red']], mappings: [absent('None', 'red')],
    targets: now([`max(count by (job, fleet) (count by (job, fleet, revision) (sallyport_policy_info{${SEL}})))`, 'revisions']),
  }),
  stat({
    w: 3, h: 4, title: 'Versions', unit: 'none', background: true,
    description: 'Of the program. More than one while you upgrade, and never for long.',
    thresholds: ['green', [2, 'orange']], mappings: [absent('None', 'red')],
    targets: now([`count(count by (version) (sallyport_build_info{${SEL}}))`, 'versions']),
  }),
  stat({
    w: 3, h: 4, title: 'Edits refused', unit: 'none', background: true,
    description: 'Gateways on which the policy on disk is not the one in force, because it has a mistake. Their logs say where.',
    alerts: ['SallyportPolicyReloadFailing'],
    thresholds: ['green', [1, 'red']], mappings: [absent('No data', 'text')],
    targets: now([`count(sallyport_policy_last_reload_successful{${SEL}} == 0) or 0 * count(up{${SEL}})`, 'gateways']),
  }),
  stat({
    w: 3, h: 4, title: 'Restart needed', unit: 'none', background: true,
    description: `Gateways whose \`sallyport.yaml\` has changed since they started: [restart or upgrade](${doc('upgrade.md')}) them.`,
    alerts: ['SallyportRestartNeeded'],
    thresholds: ['green', [1, 'orange']], mappings: [absent('No data', 'text')],
    targets: now([`sum(sallyport_config_restart_needed{${SEL}})`, 'gateways']),
  }),
  stat({
    w: 3, h: 4, title: 'Lists stale', unit: 'none', background: true,
    description: 'Lists that cannot be read or fetched at some gateway; their last good copy decides.',
    alerts: ['SallyportListStale'],
    thresholds: ['green', [1, 'orange']], mappings: [absent('No data', 'text')],
    targets: now([`count(sallyport_policy_list_stale{${SEL}} == 1) or 0 * count(up{${SEL}})`, 'lists']),
  }),
  stat({
    w: 3, h: 4, title: 'First certificate to expire', unit: 'd', decimals: 0, background: true,
    description: 'In days. Certificates are read again when they are renewed; one that goes red was not.',
    alerts: ['SallyportCertificateExpiring', 'SallyportAuthorityExpiring'],
    thresholds: ['red', [7, 'orange'], [21, 'green']], mappings: [absent('No certificates', 'green')],
    targets: now([`min(${certificates})`, 'days']),
  }),
];

const all = {
  title: 'Every gateway',
  panels: [
    table({
      w: 24, h: 9, title: 'Gateways', unit: 'none', noValue: '-',
      description: 'One line each. Click a gateway for its doors. A gateway that is down shows in its first column alone.',
      names: {
        instance: 'Gateway', 'Value #A': 'Up', version: 'Version', revision: 'Revision', 'Value #D': 'Policy age', 'Value #E': 'Loaded',
        'Value #F': 'Restart needed', 'Value #G': 'Running for', 'Value #H': 'Decisions', 'Value #I': 'Tunnels', 'Value #J': 'Entries lost',
      },
      sortBy: { name: 'Gateway' },
      columns: [
        column('Gateway', { dataLinks: toDoors }),
        column('Up', { mappings: YES, width: 70 }),
        column('Policy age', { unit: 's' }),
        column('Loaded', { mappings: YES, width: 90 }),
        column('Restart needed', { mappings: NEEDED, width: 130 }),
        column('Running for', { unit: 's' }),
        column('Decisions', { unit: 'reqps' }),
        column('Entries lost', { unit: 'short', decimals: 0, thresholds: ['green', [1, 'red']] }),
      ],
      targets: rows(
        each('up'),
        `group by (instance, version) (sallyport_build_info{${SEL}})`,
        `group by (instance, revision) (sallyport_policy_info{${SEL}})`,
        `time() - ${each('sallyport_policy_modified_timestamp_seconds')}`,
        each('sallyport_policy_last_reload_successful'),
        each('sallyport_config_restart_needed'),
        `time() - ${each('process_start_time_seconds')}`,
        `sum by (instance) (rate(sallyport_decisions_total{${SEL}}${RATE}))`,
        each('sallyport_proxy_tunnels'),
        `ceil(sum by (instance) (increase(sallyport_audit_dropped_total{${SEL}}[$__range])))`,
      ),
    }),
    table({
      w: 8, h: 8, title: 'Alerts that fire', unit: 'none', noValue: 'None.',
      description: 'Of dashboards/alerts.yaml, if your Prometheus has it loaded. Click an alert for its runbook.',
      names: { alertname: 'Alert', severity: 'Severity', instance: 'Gateway', door: 'Door' },
      sortBy: { name: 'Severity' },
      columns: [
        column('Alert', { dataLinks: [{ title: 'Runbook', url: doc('runbooks/${__value.raw}.md'), targetBlank: true }] }),
        column('Severity', { mappings: [value('page', 'page', 'red'), value('ticket', 'ticket', 'orange')], width: 90 }),
      ],
      targets: rows('max by (alertname, severity, instance, door) (ALERTS{alertname=~"Sallyport.*",alertstate="firing",job=~"$job",instance=~"$instance|"})'),
    }),
    states({
      w: 8, h: 8, title: 'Up', unit: 'none', showValue: 'never', mappings: [value(0, 'away', 'red'), value(1, 'up', 'green')],
      description: 'Whether Prometheus reaches each gateway.',
      targets: over([each('up'), '{{instance}}']),
    }),
    states({
      w: 8, h: 8, title: 'Revisions over gateways', unit: 'none', showValue: 'never',
      description: 'A bar for every gateway and revision while the one decides by the other. Bars of a revision that end at different times: the roll-out was slow.',
      thresholds: ['blue'],
      targets: over([`group by (revision, instance) (sallyport_policy_info{${SEL}})`, '{{revision}} {{instance}}']),
    }),
  ],
};

const drift = {
  title: 'Drift',
  panels: [
    lines({
      w: 8, h: 8, title: 'Behind the newest policy, by revision', unit: 's', legend: ['lastNotNull', 'max'],
      description: 'How much older each revision that still decides somewhere is than the newest of its fleet. One that is behind for long: look at how files reach the gateways that have it.',
      alerts: ['SallyportPolicyBehind'],
      targets: over([`max by (job, fleet) (${MODIFIED}) - on (job, fleet) group_right () max by (job, fleet, revision) (sallyport_policy_info{${SEL}} * on (job, instance) group_left () ${MODIFIED})`, '{{revision}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Edit on disk and not in force, since', unit: 's', legend: ['lastNotNull', 'max'],
      description: 'How old an edit is that lies on the disk of a gateway, and does not decide: it was refused, or nobody noticed it. Nought where there is none.',
      alerts: ['SallyportPolicyReloadFailing', 'SallyportPolicyNotInForce'],
      targets: over([`(time() - ${ON_DISK}) * (${ON_DISK} > bool ${each('sallyport_policy_modified_timestamp_seconds')})`, '{{instance}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Edits refused', unit: 'short', bars: true, stack: true, decimals: 1,
      description: 'Attempts to load the policy that failed.',
      alerts: ['SallyportPolicyReloadFailing'],
      targets: over([`sum by (instance) (increase(sallyport_policy_reloads_total{${SEL},result="failure"}${RATE}))`, '{{instance}}']),
    }),
    states({
      w: 12, h: 7, title: 'Versions', unit: 'none', showValue: 'always', thresholds: ['blue'],
      description: 'A bar for every version, with the number of gateways that run it.',
      targets: over([`count by (version) (sallyport_build_info{${SEL}})`, '{{version}}']),
    }),
    lines({
      w: 6, h: 7, title: 'Upgrades', unit: 'short', bars: true, decimals: 1, byName: { success: 'green', failure: 'red' },
      description: `A new process taking over ([upgrade](${doc('upgrade.md')})). \`failure\`: the old one went on.`,
      targets: over([`sum by (result) (increase(sallyport_upgrades_total{${SEL}}${RATE}))`, '{{result}}']),
    }),
    states({
      w: 6, h: 7, title: 'Sources of identities', unit: 'none', showValue: 'never', mappings: [value(0, 'not good', 'red'), value(1, 'good', 'green')],
      noValue: 'None is configured.',
      description: 'Red: what was last read is not good, and what was known before goes on. People who are new cannot sign in, and people who have left still can.',
      alerts: ['SallyportIdentitySourceDown'],
      targets: over([`min by (instance, source) (sallyport_identity_source_up{${SEL}})`, '{{source}} {{instance}}']),
    }),
  ],
};

const lists = {
  title: 'Lists and certificates',
  panels: [
    table({
      w: 14, h: 9, title: 'Lists', unit: 'none', noValue: 'The policy has no lists.',
      description: 'By list, over all gateways: the worst of them. A list that differs in size between gateways is fetched at different times.',
      alerts: ['SallyportListStale'],
      names: { list: 'List', 'Value #A': 'Entries, least', 'Value #B': 'Entries, most', 'Value #C': 'Size', 'Value #D': 'Age', 'Value #E': 'Stale at' },
      sortBy: { name: 'List' },
      columns: [
        column('Entries, least', { unit: 'short', thresholds: ['red', [1, 'text']] }),
        column('Entries, most', { unit: 'short' }),
        column('Size', { unit: 'bytes' }),
        column('Age', { unit: 's' }),
        column('Stale at', { unit: 'none', thresholds: ['green', [1, 'orange']] }),
      ],
      targets: rows(
        `min by (list) (sallyport_list_entries{${SEL}})`,
        `max by (list) (sallyport_list_entries{${SEL}})`,
        `max by (list) (sallyport_list_bytes{${SEL}})`,
        `time() - min by (list) (sallyport_list_last_success_timestamp_seconds{${SEL}})`,
        `sum by (list) (sallyport_policy_list_stale{${SEL}})`,
      ),
    }),
    table({
      w: 10, h: 9, title: 'Certificates', unit: 'none', noValue: 'No listener has a certificate.',
      description: 'Days until each expires, the first one first. The authority for block pages needs its successor on every computer weeks before.',
      alerts: ['SallyportCertificateExpiring', 'SallyportAuthorityExpiring'],
      names: { certificate: 'Certificate', instance: 'Gateway', 'Value #A': 'Days left', Value: 'Days left' },
      sortBy: { name: 'Days left' },
      columns: [column('Days left', { unit: 'd', decimals: 0, thresholds: ['red', [7, 'orange'], [21, 'green']] })],
      targets: rows(certificates),
    }),
    lines({
      w: 12, h: 7, title: 'Fetches of lists', unit: 'short', noValue: 'No fetches.', bars: true, stack: true, decimals: 1,
      byName: { fresh: 'green', unchanged: 'blue' },
      description: 'By result; all but `fresh` and `unchanged` are failures, after which the last good copy decides.',
      targets: over([`sum by (result) (increase(sallyport_list_fetches_total{${SEL}}${RATE})) > 0`, '{{result}}']),
    }),
    lines({
      w: 12, h: 7, title: 'Time to fetch a list, p99', unit: 's', noValue: 'No fetches.',
      description: 'Until its copy is on disk.',
      targets: over([`histogram_quantile(0.99, sum by (le) (rate(sallyport_list_fetch_duration_seconds_bucket{${SEL}}${RATE})))`, 'p99']),
    }),
  ],
};

const log = {
  title: 'The decision log',
  panels: [
    lines({
      w: 8, h: 7, title: 'Entries', unit: 'ops', stack: true,
      description: 'Written a second.',
      targets: over([`sum by (instance) (rate(sallyport_audit_entries_total{${SEL}}${RATE}))`, '{{instance}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Entries lost, failed writes', unit: 'short', bars: true, decimals: 1,
      description: `Lost because the disk was slower than the traffic; writes that failed are tried again. [The decision log](${doc('decision-log.md')}) says what to do.`,
      alerts: ['SallyportDecisionLogDropping', 'SallyportDecisionLogNotWritable'],
      targets: over(
        [`sum by (instance) (increase(sallyport_audit_dropped_total{${SEL}}${RATE}))`, '{{instance}}: lost'],
        [`sum by (instance) (increase(sallyport_audit_write_errors_total{${SEL}}${RATE}))`, '{{instance}}: failed writes'],
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Queue of the log', unit: 'percentunit', max: 1, thresholds: ['transparent', [0.875, 'red']],
      description: 'How full it is. From seven eighths on, entries of allowed requests are lost; when it is full, all are.',
      targets: over([`${each('sallyport_audit_queue_entries')} / ${each('sallyport_audit_queue_limit')}`, '{{instance}}']),
    }),
  ],
};

const share = (w, title, expr, description, more) =>
  lines({ w, h: 7, title, unit: 'percentunit', stack: 'percent', description, targets: over([expr, '{{instance}}']), legend: ['lastNotNull'], ...more });

const balance = {
  title: 'How the load is spread',
  panels: [
    share(8, 'Decisions, by gateway', `sum by (instance) (rate(sallyport_decisions_total{${SEL}}${RATE}))`,
      'Both doors. A gateway whose share falls to nothing while it is up gets no traffic: look at the load balancer, or at what DHCP names.', { unit: 'reqps' }),
    share(8, 'Queries, by gateway', `sum by (instance) (rate(sallyport_dns_queries_total{${SEL}}${RATE}))`,
      'Of the DNS door.', { unit: 'reqps' }),
    share(8, 'Tunnels, by gateway', each('sallyport_proxy_tunnels'),
      'Open ones. After a restart a gateway is behind for as long as tunnels live.', { unit: 'none' }),
    lines({
      w: 8, h: 7, title: 'Processor, by gateway', unit: 'none',
      description: 'Cores in use. The same share of traffic at another price: another machine, or another client.',
      targets: over([`sum by (instance) (rate(process_cpu_seconds_total{${SEL}}${RATE}))`, '{{instance}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Memory, by gateway', unit: 'bytes',
      description: 'Resident.',
      targets: over([each('process_resident_memory_bytes'), '{{instance}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Share refused, by gateway', unit: 'percentunit', max: 1,
      description: 'Gateways that serve the same offices should refuse the same share. One that refuses less than its neighbours has another policy, or other clients.',
      targets: over([`sum by (instance) (rate(sallyport_decisions_total{${SEL},action="block"}${RATE})) / sum by (instance) (rate(sallyport_decisions_total{${SEL}}${RATE}))`, '{{instance}}']),
    }),
  ],
};

export const fleet = board({
  uid: BOARDS.fleet,
  title: 'sallyport: Fleet',
  description: 'Whether all gateways decide by the same policy and run the same version, and what will need a hand soon.',
  from: 'now-24h',
  sections: [{ panels: glance }, all, drift, lists, log, balance],
});
