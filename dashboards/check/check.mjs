// Checks the dashboards: node check.mjs. Exits with 1 where something is wrong.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dashboards as fromSource } from '../source/dashboards.mjs';
import { problems } from './rules.mjs';
import { typeErrors } from './typed.mjs';

const folder = new URL('../', import.meta.url);
const repository = new URL('../../', import.meta.url);

const files = readdirSync(folder).filter((file) => file.endsWith('.json')).sort();
const texts = Object.fromEntries(files.map((file) => [file, readFileSync(new URL(file, folder), 'utf8')]));
const parsed = Object.fromEntries(files.map((file) => [file, JSON.parse(texts[file])]));

const source = fromSource();
const stale = (file) => (source[file] === texts[file] ? [] : ['is not what dashboards/source makes: node dashboards/source/write.mjs']);
const missing = Object.keys(source).filter((file) => !files.includes(file));

const typed = typeErrors(parsed);
const ruled = problems(parsed, (path) => existsSync(new URL(path, repository)));

const complaints = [
  ...missing.map((file) => `${file}: is missing: node dashboards/source/write.mjs`),
  ...files.flatMap((file) => [...stale(file), ...typed[file], ...ruled[file]].map((problem) => `dashboards/${file}: ${problem}`)),
];
complaints.forEach((complaint) => console.error(complaint));

const count = files.reduce((n, file) => n + parsed[file].panels.filter((p) => p.type !== 'row').length, 0);
console.log(`${files.length} dashboards, ${count} panels, ${complaints.length} problems`);
process.exit(complaints.length > 0 ? 1 : 0);
