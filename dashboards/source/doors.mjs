// Doors: what comes in, how long it takes, and what it comes close to.
import { SEL, RATE, buckets, now, over, quantiles } from './query.mjs';
import { absent, heat, lines, stat, states, value } from './panels.mjs';
import { BOARDS, doc } from './addresses.mjs';
import { board } from './board.mjs';

const rate = (name, by, match = '') => `sum by (${by}) (rate(${name}{${SEL}${match}}${RATE}))`;
const total = (name, match = '') => `sum(rate(${name}{${SEL}${match}}${RATE}))`;
const histogram = (name, match = '') => `sum by (le) (rate(${name}_bucket{${SEL}${match}}${RATE}))`;
const counted = (name, match = '') => `sum by (le) (increase(${name}_bucket{${SEL}${match}}${RATE}))`;
const p99 = (name, by, match = '') => `histogram_quantile(0.99, sum by (le, ${by}) (rate(${name}_bucket{${SEL}${match}}${RATE})))`;

const UP = [value(0, 'away', 'red'), value(1, 'up', 'green')];
const places = `sum(sallyport_proxy_tunnel_places{${SEL}}) / sum(sallyport_proxy_tunnels_limit{${SEL}})`;

const glance = [
  stat({
    w: 3, h: 4, title: 'Queries', unit: 'reqps', spark: true,
    description: 'Replies of the DNS door a second, over every transport.',
    thresholds: ['blue'], noValue: '0',
    targets: over([total('sallyport_dns_queries_total'), 'queries']),
  }),
  stat({
    w: 3, h: 4, title: 'Requests', unit: 'reqps', spark: true,
    description: 'Requests at the proxy door a second: CONNECT, plain HTTP, SOCKS and redirected connections.',
    thresholds: ['blue'], noValue: '0',
    targets: over([total('sallyport_proxy_requests_total'), 'requests']),
  }),
  stat({
    w: 3, h: 4, title: 'DNS, p99', unit: 's', spark: true,
    description: 'Of queries that we answer ourselves: refused, or from the cache. Red: this machine is too busy. What upstreams take is not in it.',
    alerts: ['SallyportDNSSlow'],
    thresholds: ['green', [0.005, 'orange'], [0.05, 'red']], mappings: [absent('No queries', 'text')],
    targets: over([`histogram_quantile(0.99, ${histogram('sallyport_dns_query_duration_seconds', ',outcome=~"blocked|hit"')})`, 'p99']),
  }),
  stat({
    w: 3, h: 4, title: 'Refusals, p99', unit: 's', spark: true,
    description: 'Of requests that the proxy door refuses, which wait for nobody else. Red: this machine is too busy.',
    alerts: ['SallyportProxySlow'],
    thresholds: ['green', [0.025, 'orange'], [0.25, 'red']], mappings: [absent('None refused', 'text')],
    targets: over([`histogram_quantile(0.99, ${histogram('sallyport_proxy_answer_duration_seconds', ',outcome="blocked"')})`, 'p99']),
  }),
  stat({
    w: 3, h: 4, title: 'Tunnels', unit: 'none', spark: true,
    description: 'Tunnels and WebSockets open now.',
    thresholds: ['blue'],
    targets: over([`sum(sallyport_proxy_tunnels{${SEL}})`, 'open']),
  }),
  stat({
    w: 3, h: 4, title: 'Places taken', unit: 'percentunit', decimals: 0, background: true,
    description: `Of the places for tunnels and requests under way. At 100 % more are turned away with 503: raise \`proxy.limits.tunnels\`, or add a gateway ([limits](${doc('configuration.md')})).`,
    alerts: ['SallyportTunnelsNearLimit'],
    thresholds: ['green', [0.7, 'orange'], [0.9, 'red']], mappings: [absent('No data', 'text')],
    targets: now([places, 'taken']),
  }),
  stat({
    w: 3, h: 4, title: 'Turned away', unit: 'reqps', background: true, spark: true,
    description: 'Packets, connections and lookups that got no answer because something was full, too fast, or not understood. The panels below say which.',
    alerts: ['SallyportProxyOverload'],
    thresholds: ['green', [0.1, 'orange'], [10, 'red']], mappings: [absent('No data', 'text')],
    targets: over([`${total('sallyport_dns_shed_total')} + ${total('sallyport_proxy_shed_total')} + ${total('sallyport_dns_receive_drops_total')}`, 'turned away']),
  }),
  stat({
    w: 3, h: 4, title: 'Upstreams away', unit: 'none', background: true,
    description: 'Resolvers and parent proxies that some gateway leaves alone at the moment because they did not answer it.',
    alerts: ['SallyportUpstreamDown', 'SallyportUpstreamsDown', 'SallyportParentDown'],
    thresholds: ['green', [1, 'red']], mappings: [absent('No data', 'text')],
    targets: now([`count(min by (upstream) (sallyport_dns_upstream_up{${SEL}}) == 0 or min by (parent) (sallyport_proxy_parent_up{${SEL}}) == 0) or 0 * count(up{${SEL}})`, 'away']),
  }),
];

const dns = {
  title: 'The DNS door',
  panels: [
    lines({
      w: 8, h: 8, title: 'Queries, by transport', unit: 'reqps', noValue: 'No queries.', stack: true,
      description: 'Replies a second. A fall of one transport to nought: its listener, its certificate, or a firewall.',
      targets: over([`${rate('sallyport_dns_queries_total', 'transport')} > 0`, '{{transport}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Replies, by code', unit: 'reqps', noValue: 'No queries.', stack: true,
      byName: { NOERROR: 'green', NXDOMAIN: 'blue', SERVFAIL: 'red', REFUSED: 'orange' },
      description: 'SERVFAIL: no upstream gave an answer. REFUSED: clients outside `dns.clients`, or the policy\'s own way to refuse.',
      alerts: ['SallyportDNSErrors'],
      targets: over([`${rate('sallyport_dns_queries_total', 'rcode')} > 0`, '{{rcode}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Time to reply, quantiles', unit: 's', legend: ['mean', 'max'],
      description: 'From arrival to reply, of all queries.',
      alerts: ['SallyportDNSSlow'],
      targets: quantiles(histogram('sallyport_dns_query_duration_seconds')),
    }),
    heat({
      w: 8, h: 8, title: 'Time to reply', unit: 's',
      description: 'Two bands are usual: our own answers below, those that waited for an upstream above.',
      targets: buckets(counted('sallyport_dns_query_duration_seconds')),
    }),
    lines({
      w: 8, h: 8, title: 'Time to reply, p99 by outcome', unit: 's',
      description: '`miss` is the upstreams\' time, `blocked` and `hit` are our own. `failed`: an upstream said SERVFAIL or the like. `error`: none answered.',
      byName: { blocked: 'red', hit: 'green', miss: 'blue', failed: 'yellow', error: 'orange' },
      targets: over([p99('sallyport_dns_query_duration_seconds', 'outcome'), '{{outcome}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Replies, by outcome', unit: 'reqps', stack: true,
      byName: { blocked: 'red', hit: 'green', miss: 'blue', failed: 'yellow', error: 'orange' },
      description: 'What became of queries.',
      targets: over([rate('sallyport_dns_query_duration_seconds_count', 'outcome'), '{{outcome}}']),
    }),
  ],
};

const hits = total('sallyport_dns_cache_hits_total');
const misses = total('sallyport_dns_cache_misses_total');

const cache = {
  title: 'Cache and upstreams',
  panels: [
    lines({
      w: 8, h: 7, title: 'Cache hit ratio', unit: 'percentunit', max: 1, legend: ['mean', 'min'],
      description: 'Of lookups. An office is well above 80 %; a low one with evictions beside it wants a larger `dns.cache.size`.',
      targets: over([`${hits} / (${hits} + ${misses})`, 'hits']),
    }),
    lines({
      w: 4, h: 7, title: 'Answers kept', unit: 'short', legend: ['lastNotNull'],
      description: 'In the caches of all gateways chosen.',
      targets: over([`sum(sallyport_dns_cache_entries{${SEL}})`, 'answers']),
    }),
    lines({
      w: 4, h: 7, title: 'Their memory', unit: 'bytes', legend: ['lastNotNull'],
      description: 'Estimated. It stops at `dns.cache.size` a gateway.',
      targets: over([`sum(sallyport_dns_cache_bytes{${SEL}})`, 'bytes']),
    }),
    lines({
      w: 8, h: 7, title: 'Evicted, renewed, stale', unit: 'ops', byName: { evicted: 'orange', renewed: 'green', stale: 'red' },
      description: 'Answers a second that left to make room, were renewed before their time, or were given past it. Stale ones mean that upstreams do not answer: people can work, on old addresses.',
      targets: over(
        [total('sallyport_dns_cache_evictions_total'), 'evicted'],
        [total('sallyport_dns_prefetches_total'), 'renewed'],
        [total('sallyport_dns_stale_answers_total'), 'stale'],
      ),
    }),
    states({
      w: 8, h: 7, title: 'Upstreams', unit: 'none', showValue: 'never', mappings: UP,
      description: 'Resolvers; red while some gateway leaves one alone because it did not answer. It moves with traffic: the next query that needs one finds out that it is back.',
      alerts: ['SallyportUpstreamDown', 'SallyportUpstreamsDown'],
      targets: over([`min by (upstream) (sallyport_dns_upstream_up{${SEL}})`, '{{upstream}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Upstream time, p99', unit: 's',
      description: 'One try at an upstream.',
      targets: over([p99('sallyport_dns_upstream_duration_seconds', 'upstream'), '{{upstream}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Upstream tries that failed', unit: 'ops', noValue: 'None.', stack: true,
      description: '`timeout`: no answer in `dns.timeouts.upstream`; `refused`: it answered that it will not; `error`: the connection failed.',
      targets: over([`${rate('sallyport_dns_upstream_duration_seconds_count', 'upstream, result', ',result!="ok"')} > 0`, '{{upstream}} {{result}}']),
    }),
  ],
};

const dnsLimits = {
  title: 'What bounds the DNS door',
  panels: [
    lines({
      w: 8, h: 7, title: 'Connections of clients', unit: 'none', stack: false, limit: 'limit',
      description: 'TCP, TLS, HTTPS and QUIC together have one limit, `dns.limits.tcp_connections`.',
      alerts: ['SallyportConnectionsNearLimit'],
      targets: over(
        [`sum by (transport) (sallyport_dns_connections{${SEL}})`, '{{transport}}'],
        [`sum(sallyport_dns_connections_limit{${SEL}})`, 'limit'],
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Queries under way', unit: 'none',
      description: '`busy` wait for an upstream, for the most part; `waiting` are not begun because so many are under way. Waiting ones for long: upstreams are slow, or `dns.limits.queries` is small.',
      byName: { busy: 'blue', waiting: 'orange' },
      targets: over(
        [`sum(sallyport_dns_queries_busy{${SEL}})`, 'busy'],
        [`sum(sallyport_dns_queries_waiting{${SEL}})`, 'waiting'],
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Dropped without an answer', unit: 'reqps', noValue: 'None.', stack: true,
      description: `By reason, the kernel's own drops among them. What each one means is in [The DNS door](${doc('dns-door.md')}).`,
      alerts: ['SallyportDNSOverload', 'SallyportDNSReceiveDrops'],
      targets: over(
        [`${rate('sallyport_dns_shed_total', 'reason')} > 0`, '{{reason}}'],
        [`${total('sallyport_dns_receive_drops_total')} > 0`, 'kernel: not read in time'],
        [`${total('sallyport_dns_unsent_total')} > 0`, 'kernel: not sent'],
      ),
    }),
  ],
};

const proxy = {
  title: 'The proxy door',
  panels: [
    lines({
      w: 8, h: 8, title: 'Requests, by method', unit: 'reqps', stack: true,
      description: 'By the way in.',
      targets: over([rate('sallyport_proxy_requests_total', 'method'), '{{method}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Answers, by code', unit: 'reqps', stack: true,
      byName: { 200: 'green', 403: 'red', 407: 'blue', 429: 'orange', 502: 'purple', 503: 'dark-red', 504: 'dark-purple' },
      description: '403: the policy. 407: a password is wanted. 429: over a client\'s rate. 502, 504: the destination, as a rule, or its name, or a parent. 503: a limit of ours.',
      alerts: ['SallyportProxyErrors'],
      targets: over([rate('sallyport_proxy_requests_total', 'code'), '{{code}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Time to answer, quantiles', unit: 's',
      description: 'From a request read until its answer begins; where it is let through, most of it is the destination\'s.',
      alerts: ['SallyportProxySlow'],
      targets: quantiles(histogram('sallyport_proxy_answer_duration_seconds')),
    }),
    heat({
      w: 8, h: 8, title: 'Time to answer', unit: 's',
      description: 'Refusals below, destinations above.',
      targets: buckets(counted('sallyport_proxy_answer_duration_seconds')),
    }),
    lines({
      w: 8, h: 8, title: 'Time to answer, p99 by outcome', unit: 's',
      byName: { blocked: 'red', refused: 'orange', allowed: 'green', forwarded: 'blue', unreachable: 'purple', error: 'dark-red' },
      description: '`blocked` by the policy; `refused` for another reason, such as no password; `allowed`: a tunnel; `forwarded`: a plain request; `unreachable`: the destination; `error`: we failed.',
      targets: over([p99('sallyport_proxy_answer_duration_seconds', 'outcome'), '{{outcome}}']),
    }),
    lines({
      w: 8, h: 8, title: 'Bytes in tunnels', unit: 'Bps',
      byName: { up: 'blue', down: 'green' },
      description: '`up` is from clients to destinations.',
      targets: over([rate('sallyport_proxy_tunnel_bytes_total', 'direction'), '{{direction}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Places for tunnels', unit: 'none', limit: 'limit',
      description: 'Open tunnels, and the places that they and requests under way take, against `proxy.limits.tunnels`.',
      alerts: ['SallyportTunnelsNearLimit'],
      targets: over(
        [`sum(sallyport_proxy_tunnels{${SEL}})`, 'tunnels'],
        [`sum(sallyport_proxy_tunnel_places{${SEL}})`, 'places taken'],
        [`sum(sallyport_proxy_tunnels_limit{${SEL}})`, 'limit'],
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Tunnels closed, by reason', unit: 'ops', stack: true,
      byName: { policy: 'red', client: 'green', upstream: 'blue', idle: 'text', shutdown: 'purple' },
      description: '`policy`: a new policy, a date or an exception that ended. `idle`: nothing moved for `proxy.timeouts.idle`.',
      targets: over([rate('sallyport_proxy_tunnels_closed_total', 'reason'), '{{reason}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Connections that are not tunnels', unit: 'none', limit: 'limit',
      description: 'Of clients, against `proxy.limits.connections`.',
      alerts: ['SallyportConnectionsNearLimit'],
      targets: over(
        [`sum(sallyport_proxy_connections{${SEL}})`, 'connections'],
        [`sum(sallyport_proxy_connections_limit{${SEL}})`, 'limit'],
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Turned away', unit: 'reqps', noValue: 'None.', stack: true,
      description: `By reason; [Metrics](${doc('metrics.md')}) says what each one means. \`tunnels\` and \`connections\`: a limit is reached; \`accept\`: no descriptor is left.`,
      alerts: ['SallyportProxyOverload'],
      targets: over([`${rate('sallyport_proxy_shed_total', 'reason')} > 0`, '{{reason}}']),
    }),
    lines({
      w: 8, h: 7, title: 'Lines of access logs lost', unit: 'short', noValue: 'No access log is configured.', bars: true, decimals: 1,
      description: `Because a disk was slower than the traffic, and failed writes ([access logs](${doc('access-logs.md')})).`,
      alerts: ['SallyportAccessLogFailing'],
      targets: over(
        [`sum by (format) (increase(sallyport_access_log_dropped_total{${SEL}}${RATE}))`, '{{format}}: lost'],
        [`sum by (format) (increase(sallyport_access_log_write_errors_total{${SEL}}${RATE}))`, '{{format}}: failed writes'],
      ),
    }),
    lines({
      w: 8, h: 7, title: 'Lines of access logs', unit: 'ops', noValue: 'No access log is configured.', stack: true,
      description: 'Written a second, by format.',
      targets: over([rate('sallyport_access_log_entries_total', 'format'), '{{format}}']),
    }),
  ],
};

const outward = {
  title: 'To destinations',
  panels: [
    lines({
      w: 8, h: 8, title: 'Time to connect, quantiles', unit: 's',
      description: 'To destinations, or to a parent proxy on the way to them.',
      targets: quantiles(histogram('sallyport_proxy_dial_duration_seconds')),
    }),
    heat({
      w: 8, h: 8, title: 'Time to connect', unit: 's',
      description: 'Whether a few destinations are slow, or all.',
      targets: buckets(counted('sallyport_proxy_dial_duration_seconds')),
    }),
    lines({
      w: 8, h: 8, title: 'Attempts that failed', unit: 'ops', noValue: 'None.', stack: true,
      description: '`direct` is without a parent. `credentials`: the parent does not take ours.',
      alerts: ['SallyportParentRefusesCredentials'],
      targets: over([`${rate('sallyport_proxy_outbound_dials_total', 'parent, result', ',result!="ok"')} > 0`, '{{parent}} {{result}}']),
    }),
    states({
      w: 24, h: 5, title: 'Parent proxies', unit: 'none', showValue: 'never', mappings: UP, noValue: 'None is configured.',
      description: `Red while some gateway does not get through ([parent proxies](${doc('parent-proxies.md')})).`,
      alerts: ['SallyportParentDown'],
      targets: over([`min by (parent) (sallyport_proxy_parent_up{${SEL}})`, '{{parent}}']),
    }),
  ],
};

const perGateway = (w, h, title, unit, expr, description, more) =>
  lines({ w, h, title, unit, description, targets: over([expr, '{{instance}}']), ...more });

const machine = {
  title: 'The process',
  panels: [
    perGateway(8, 7, 'Processor', 'none', `sum by (instance) (rate(process_cpu_seconds_total{${SEL}}${RATE}))`,
      'Cores in use. At as many as it may have (`GOMAXPROCS`, shown as the limit of the largest), answers are late.', {
        limit: 'limit',
        targets: over(
          [`sum by (instance) (rate(process_cpu_seconds_total{${SEL}}${RATE}))`, '{{instance}}'],
          [`max(go_sched_gomaxprocs_threads{${SEL}})`, 'limit'],
        ),
      }),
    perGateway(8, 7, 'Memory', 'bytes', `max by (instance) (process_resident_memory_bytes{${SEL}})`,
      'Resident. It follows tunnels, the cache and the lists; what grows for days without them is a leak to report.'),
    perGateway(8, 7, 'Heap', 'bytes', `max by (instance) (go_memstats_heap_inuse_bytes{${SEL}})`,
      'Of that, what Go\'s heap has in use.'),
    perGateway(8, 7, 'Goroutines', 'none', `max by (instance) (go_goroutines{${SEL}})`,
      'They follow connections and queries under way, and fall again with them.'),
    perGateway(8, 7, 'Descriptors taken', 'percentunit', `max by (instance) (process_open_fds{${SEL}} / process_max_fds{${SEL}})`,
      'Of those that the process may open. A tunnel takes two. At 100 % connections are turned away: raise `LimitNOFILE`.', { max: 1, thresholds: ['transparent', [0.8, 'red']] }),
    perGateway(8, 7, 'Longest pause of the collector', 's', `max by (instance) (go_gc_duration_seconds{${SEL},quantile="1"})`,
      'Go\'s garbage collector. A few milliseconds at most; more, and the machine has too little processor to spare.'),
    perGateway(12, 6, 'Garbage collections', 'ops', `sum by (instance) (rate(go_gc_duration_seconds_count{${SEL}}${RATE}))`,
      'A second. Several for long: much is allocated; `GOGC` or `GOMEMLIMIT` can trade memory for it.'),
    lines({
      w: 12, h: 6, title: 'Panics caught', unit: 'short', bars: true, decimals: 0,
      description: 'Anything but 0 is a bug: please report it with the log.',
      alerts: ['SallyportPanics'],
      targets: over(
        [`sum by (instance) (increase(sallyport_dns_panics_total{${SEL}}${RATE}))`, '{{instance}} dns'],
        [`sum by (instance) (increase(sallyport_proxy_panics_total{${SEL}}${RATE}))`, '{{instance}} proxy'],
      ),
    }),
  ],
};

export const doors = board({
  uid: BOARDS.doors,
  title: 'sallyport: Doors',
  description: 'Traffic and latency of the DNS door and the proxy door, what bounds them, what they wait for, and the process itself.',
  from: 'now-3h',
  sections: [{ panels: glance }, dns, cache, dnsLimits, proxy, outward, machine],
});
