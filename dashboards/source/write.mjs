// Writes the dashboards beside this folder: node dashboards/source/write.mjs
import { writeFileSync } from 'node:fs';
import { dashboards } from './dashboards.mjs';

for (const [name, text] of Object.entries(dashboards())) {
  writeFileSync(new URL(`../${name}`, import.meta.url), text);
}
