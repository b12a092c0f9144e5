import { expect, it } from 'vitest';
import type { Route } from '../../shared/arm/route.ts';
import { ROUTES } from '../../shared/arm/routes.ts';
import { FABRIC, I, LOCATION, S, V } from '../../shared/arm/routes/paths.ts';

/* docs/api-routes.md is the table of routes. Where they differ, `npx vitest run --project unit test/arm/routes-table.test.ts -u` writes it. */

const SHORT: readonly [path: string, name: string][] = [
  [I, 'I'],
  [FABRIC, 'F'],
  [V, 'V'],
  [LOCATION, 'L'],
  [S, 'S'],
];

const HEAD = `# Every route

Written from the table of routes by a test (test/arm/routes-table.test.ts); [api.md](api.md) tells what the calls do and how they differ from the
service's. A caller has to have the role named, or one above it: Reader, Operator, Contributor.

${SHORT.toReversed()
  .map(([path, name]) => `- \`${name}\` = \`${path}\``)
  .join('\n')}
`;

function shortPath(template: string): string {
  const [path, name] = SHORT.find(([start]) => template === start || template.startsWith(`${start}/`)) ?? ['', ''];
  return name + template.slice(path.length);
}

/** A table as the formatter leaves it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, i) => Math.max(...[head, ...rows].map((row) => row[i]!.length)));
  const line = (cells: readonly string[], fill = ' ') =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!, fill)).join(' | ')} |`;
  return [
    line(head),
    line(
      widths.map(() => '-'),
      '-',
    ),
    ...rows.map((row) => line(row)),
  ].join('\n');
}

const nameOf = ({ method, template }: Route): string => `\`${method} ${shortPath(template)}\``;
const roleOf = ({ role }: Route): string => role.replace('Backup ', '');

it('docs/api-routes.md has every route with its role and what it answers, and what is refused with its reason', async () => {
  const there = ROUTES.filter(({ refusal }) => refusal === undefined);
  const refused = ROUTES.filter(({ refusal }) => refusal !== undefined);
  const text = [
    HEAD,
    '## What is there\n',
    table(
      ['Call', 'Role', 'Answers', 'What it does'],
      there.map((each) => [nameOf(each), roleOf(each), Object.keys(each.answers).join(', '), each.summary]),
    ),
    '\n## What clients of the service know and this version refuses\n',
    table(
      ['Call', 'Role', 'Answer', 'Why'],
      refused.map((each) => [
        nameOf(each),
        roleOf(each),
        `${each.refusal!.status} \`${each.refusal!.code}\``,
        each.refusal!.why,
      ]),
    ),
    '',
  ].join('\n');
  await expect(text).toMatchFileSnapshot('../../docs/api-routes.md');
});
