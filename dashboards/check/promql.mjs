// Takes a PromQL expression apart, as far as the rules need it: which series it
// chooses by which matchers, which labels it groups by, and over which windows.
// promtool, which the repository's tests run, is what says whether it is PromQL.

const KEYWORDS = new Set(['and', 'or', 'unless', 'by', 'without', 'on', 'ignoring', 'group_left', 'group_right', 'offset', 'bool', 'atan2', 'inf', 'nan']);
const GROUPING = new Set(['by', 'without', 'on', 'ignoring', 'group_left', 'group_right']);
const TOKEN = /\s+|"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\$?[A-Za-z_][A-Za-z0-9_:]*|\d+(?:\.\d+)?(?:e[+-]?\d+)?[smhdwy]?|[=!]~|[=!<>]=|[-+*/%^=<>(){},]/y;

// parse returns {series: [{name, matchers: [{label, operator, value}], window}],
// groupings: [labels]}, or throws where it meets what it does not know.
export const parse = (expr) => {
  const tokens = tokenize(expr);
  const series = [];
  const groupings = [];
  for (let i = 0; i < tokens.length; i++) {
    const token = tokens[i];
    if (GROUPING.has(token) && tokens[i + 1] === '(') {
      const end = tokens.indexOf(')', i);
      groupings.push(tokens.slice(i + 2, end).filter((t) => t !== ','));
      i = end;
      continue;
    }
    if (!/^[A-Za-z_]/.test(token) || KEYWORDS.has(token.toLowerCase()) || ['(', 'by', 'without'].includes(tokens[i + 1])) continue;
    const one = { name: token, matchers: [], window: '' };
    if (tokens[i + 1] === '{') {
      const end = tokens.indexOf('}', i);
      one.matchers = matchers(tokens.slice(i + 2, end), expr);
      i = end;
    }
    if (tokens[i + 1]?.startsWith('[')) one.window = tokens[i + 1].slice(1, -1);
    series.push(one);
  }
  return { series, groupings };
};

const tokenize = (expr) => {
  const tokens = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < expr.length) {
    const at = TOKEN.lastIndex;
    const match = TOKEN.exec(expr);
    if (!match) throw new Error(`cannot read ${JSON.stringify(expr.slice(at, at + 20))}`);
    if (match[0].trim()) tokens.push(match[0]);
  }
  return tokens;
};

const matchers = (tokens, expr) => {
  const list = [];
  for (let i = 0; i < tokens.length; i += 4) {
    const [label, operator, value, comma] = tokens.slice(i, i + 4);
    if (!value?.startsWith('"') || (comma ?? ',') !== ',') throw new Error(`cannot read the matchers of ${JSON.stringify(expr)}`);
    list.push({ label, operator, value: value.slice(1, -1) });
  }
  return list;
};
