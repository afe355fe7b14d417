// Dashboards with a mistake, for the tests: the committed one, taken apart.
import { readFileSync } from 'node:fs';

const good = JSON.parse(readFileSync(new URL('../the-ban.json', import.meta.url), 'utf8'));

export const unbroken = () => structuredClone(good);

// broken returns the dashboard after `breaking` has been at it. `first` finds
// its first panel of a type.
export const broken = (breaking) => {
  const d = unbroken();
  breaking(d, (type) => d.panels.find((panel) => panel.type === type));
  return d;
};
