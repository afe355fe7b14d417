// Rules for links: dashboards that they lead to are ours, and pages are in the
// repository.

const PAGE = /^https:\/\/github\.com\/sallyport\/sallyport\/(?:blob|tree)\/main\/([^#?]+)/;
const FILLED = /\$\{[^}]*\}[^/]*$/; // what Grafana fills in at the end of an address

// linkProblems looks at every address in a dashboard: of links, and in the text
// of descriptions.
export const linkProblems = (d, uids, exists) => [...new Set(addresses(d))].flatMap((url) => {
  const dashboard = /^\/d\/([^/?]+)/.exec(url);
  if (dashboard) return uids.includes(dashboard[1]) ? [] : [`${url} leads to no dashboard of ours`];
  const page = PAGE.exec(url);
  if (!page) return [`${url} leads neither to a dashboard nor into the repository`];
  const path = page[1].replace(FILLED, '');
  return exists(path) ? [] : [`${url} leads to a page that is not there`];
});

const addresses = (value, key = '') => {
  if (typeof value === 'string') {
    if (key === 'url') return [value];
    return key === 'description' ? [...value.matchAll(/\]\(([^)]*)\)/g)].map((m) => m[1]) : [];
  }
  if (!value || typeof value !== 'object') return [];
  return Object.entries(value).flatMap(([k, v]) => addresses(v, k));
};
