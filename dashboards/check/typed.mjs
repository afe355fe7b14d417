// Holds dashboards against the types in types.ts.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createRequire } from 'node:module';

const here = dirname(fileURLToPath(import.meta.url));

// typeErrors returns the compiler's complaints, by dashboard; none: an empty
// list. Each dashboard becomes a literal of the type, since the compiler looks
// for unknown keys in literals alone.
export const typeErrors = (dashboards) => {
  const names = Object.keys(dashboards);
  mkdirSync(join(here, 'generated'), { recursive: true });
  const folder = mkdtempSync(join(here, 'generated', 'run-'));
  try {
    names.forEach((name, i) => {
      const text = JSON.stringify(dashboards[name], null, 2);
      writeFileSync(join(folder, `d${i}.ts`),
        `import type { Dashboard } from '../../types';\nexport const dashboard: Dashboard =\n${text};\n`);
    });
    writeFileSync(join(folder, 'tsconfig.json'),
      JSON.stringify({ extends: '../../tsconfig.json', include: ['.', '../../types.ts'] }));
    return byDashboard(names, compile(folder));
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const compile = (folder) => {
  const typescript = dirname(createRequire(import.meta.url).resolve('typescript/package.json'));
  try {
    execFileSync(process.execPath, [join(typescript, 'bin', 'tsc'), '--project', folder, '--pretty', 'false'],
      { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 1 << 26 });
    return '';
  } catch (failure) {
    if (failure.stdout) return failure.stdout;
    throw failure;
  }
};

// The text of a dashboard begins on the third line of its file.
const BEFORE = 2;

const byDashboard = (names, output) => {
  const found = Object.fromEntries(names.map((name) => [name, []]));
  let last;
  for (const line of output.split('\n').filter(Boolean)) {
    const at = /^(?:.*\/)?d(\d+)\.ts\((\d+),(\d+)\): (.*)$/.exec(line);
    if (at) {
      last = found[names[Number(at[1])]];
      last.push(`line ${Number(at[2]) - BEFORE}: ${at[4]}`);
    } else if (/^\s/.test(line) && last) {
      last[last.length - 1] += `\n${line}`;
    } else {
      throw new Error(`the compiler complains of something else than a dashboard: ${line}`);
    }
  }
  return found;
};
