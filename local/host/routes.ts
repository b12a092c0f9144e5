/**
 * Route templates by the rules of ASP.NET Core, which the Functions host uses: literals compare without case, `{name}` takes one
 * segment, `{name?}` may be absent, `{name=value}` has a default, `{*rest}` takes what is left, and constraints follow colons.
 */
export interface Route {
  readonly template: string;
  /**
   * Compares two routes that match the same path: the smaller is the more specific. ASP.NET Core's inbound precedence, one digit
   * per segment: literal 1, constrained or composed 2, parameter 3, constrained catch-all 4, catch-all 5.
   */
  readonly precedence: string;
  /** The decoded parameters when `path` (as in the request line, without query) matches, else undefined. Parameters that are absent are left out. */
  match(path: string): Record<string, string> | undefined;
}

interface Parameter {
  readonly name: string;
  readonly defaultValue: string | undefined;
  readonly constraints: readonly ((value: string) => boolean)[];
}

const PARAMETER = /\{(\*{0,2})([A-Za-z_]\w*)((?::(?:[^{}=?()]|\((?:[^(){}]|\{\{|\}\})*\))+)*)(\?|=[^{}]*)?\}/g;

/** @throws Error when the template is not one */
export function parseRoute(template: string): Route {
  const segments = splitSegments(template);
  const parameters: Parameter[] = [];
  let pattern = '';
  let precedence = '';
  segments.forEach((segment, at) => {
    const parsed = parseSegment(template, segment);
    if (parsed.isCatchAll && at < segments.length - 1)
      throw new Error(`the route "${template}" has a catch-all before its end`);
    parameters.push(...parsed.parameters);
    precedence += parsed.digit;
    const slash = at === 0 ? '' : '/';
    if (parsed.isCatchAll) pattern += at === 0 ? '(.*)' : '(?:/(.*))?';
    else pattern += parsed.isOptional ? `(?:${slash}${parsed.pattern})?` : `${slash}${parsed.pattern}`;
  });
  const names = parameters.map(({ name }) => name.toLowerCase());
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new Error(`the route "${template}" has the parameter "${twice}" twice`);
  const regex = new RegExp(`^${pattern}$`, 'i');
  return { template, precedence, match: (path) => matchRoute(regex, parameters, path) };
}

/** Cuts at slashes that are not inside braces (a regex constraint may hold one). */
function splitSegments(template: string): string[] {
  const segments = [''];
  let depth = 0;
  for (const character of template) {
    if (character === '{') depth++;
    if (character === '}') depth--;
    if (character === '/' && depth === 0) segments.push('');
    else segments[segments.length - 1] += character;
  }
  if (depth !== 0) throw new Error(`the route "${template}" has braces that do not close`);
  if (segments.some((segment, at) => segment === '' && (at > 0 || segments.length > 1)))
    throw new Error(`the route "${template}" has an empty segment`);
  return segments;
}

function parseSegment(template: string, segment: string) {
  const parameters: Parameter[] = [];
  let pattern = '';
  let end = 0;
  let isOptional = false;
  let isCatchAll = false;
  for (const match of segment.matchAll(PARAMETER)) {
    const [text, stars, name, constraints, tail] = match as unknown as [
      string,
      string,
      string,
      string,
      string | undefined,
    ];
    pattern += escapeRegex(segment.slice(end, match.index)) + '([^/]+)';
    end = match.index + text.length;
    isCatchAll ||= stars !== '';
    isOptional ||= tail !== undefined;
    const defaultValue = tail?.startsWith('=') === true ? tail.slice(1) : undefined;
    parameters.push({
      name,
      defaultValue,
      constraints: splitConstraints(constraints).map((text) => constraint(template, text)),
    });
  }
  pattern += escapeRegex(segment.slice(end));
  if (/[{}]/.test(pattern.replaceAll(/\\[{}]/g, '')) || /\\[{}]/.test(pattern))
    throw new Error(
      `the route "${template}" has a segment "${segment}" that is no parameter: expected {name}, {name?}, {name:int} or {*name}`,
    );
  const isWhole = parameters.length === 1 && /^\{.*\}$/.test(segment) && end === segment.length;
  const isConstrained = parameters.some(({ constraints }) => constraints.length > 0);
  if (isCatchAll && !isWhole) throw new Error(`the route "${template}" has a catch-all that is not a whole segment`);
  const digit = parameters.length === 0 ? 1 : isCatchAll ? (isConstrained ? 4 : 5) : isWhole && !isConstrained ? 3 : 2;
  return { parameters, pattern, isOptional: isOptional && isWhole, isCatchAll, digit: String(digit) };
}

function matchRoute(regex: RegExp, parameters: readonly Parameter[], path: string): Record<string, string> | undefined {
  // Empty segments take part in no match, and one trailing slash is forgiven, as in ASP.NET Core.
  const match = regex.exec(decodePath(path).replace(/^\//, '').replace(/\/$/, ''));
  if (match === null) return undefined;
  const values: Record<string, string> = {};
  for (const [at, { name, defaultValue, constraints }] of parameters.entries()) {
    const text = match[at + 1];
    const value = text === undefined || text === '' ? defaultValue : text;
    if (value === undefined) continue;
    if (!constraints.every((holds) => holds(value))) return undefined;
    values[name] = value;
  }
  return values;
}

/** Percent-decodes a path but leaves %2F, which would change its segments. Text that does not decode stays as it is. */
export function decodePath(text: string): string {
  try {
    return text
      .split(/(%2f)/i)
      .map((part) => (/^%2f$/i.test(part) ? part : decodeURIComponent(part)))
      .join('');
  } catch {
    return text;
  }
}

function splitConstraints(text: string): string[] {
  return text === '' ? [] : text.slice(1).split(/:(?![^(]*\))/);
}

function constraint(template: string, text: string): (value: string) => boolean {
  const [, name = '', list = ''] = /^(\w+)(?:\((.*)\))?$/s.exec(text) ?? [];
  const [a = NaN, b = NaN] = list.split(',').map(Number);
  const isInteger = (value: string) => /^[+-]?\d+$/.test(value);
  switch (name) {
    case 'int':
      return (value) => isInteger(value) && Math.abs(Number(value)) <= 2 ** 31;
    case 'long':
      return isInteger;
    case 'bool':
      return (value) => /^(true|false)$/i.test(value);
    case 'decimal':
    case 'double':
    case 'float':
      return (value) => value.trim() !== '' && Number.isFinite(Number(value));
    case 'datetime':
      return (value) => !Number.isNaN(Date.parse(value));
    case 'guid':
      return (value) => /^\{?[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\}?$/i.test(value);
    case 'alpha':
      return (value) => /^[a-z]*$/i.test(value);
    case 'required':
      return (value) => value !== '';
    case 'min':
      return (value) => isInteger(value) && Number(value) >= a;
    case 'max':
      return (value) => isInteger(value) && Number(value) <= a;
    case 'range':
      return (value) => isInteger(value) && Number(value) >= a && Number(value) <= b;
    case 'minlength':
      return (value) => value.length >= a;
    case 'maxlength':
      return (value) => value.length <= a;
    case 'length':
      return (value) => value.length >= a && value.length <= (Number.isNaN(b) ? a : b);
    case 'regex': {
      const regex = new RegExp(
        list.replaceAll('{{', '{').replaceAll('}}', '}').replaceAll('[[', '[').replaceAll(']]', ']'),
        'i',
      );
      return (value) => regex.test(value);
    }
    default:
      throw new Error(`the route "${template}" has the constraint "${text}", which is not known`);
  }
}

function escapeRegex(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
