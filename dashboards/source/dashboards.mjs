// The files, as they are committed.
import { ban } from './ban.mjs';
import { doors } from './doors.mjs';
import { fleet } from './fleet.mjs';

// sorted orders the keys of objects, so that a change of the source changes no
// line of the result but its own.
const sorted = (v) => {
  if (Array.isArray(v)) return v.map(sorted);
  if (v === null || typeof v !== 'object') return v;
  return Object.fromEntries(Object.keys(v).sort().map((key) => [key, sorted(v[key])]));
};

const text = (dashboard) => `${JSON.stringify(sorted(dashboard), null, 2)}\n`;

export const dashboards = () => ({
  'the-ban.json': text(ban),
  'doors.json': text(doors),
  'fleet.json': text(fleet),
});
