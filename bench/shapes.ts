/**
 * `npm run bench:shapes`: what the shape of a disk costs. The same data and the same changes near together and scattered, on real
 * storage; and the thinnest possible changes all over the largest disk, simulated. See docs/performance.md.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { loadavg } from 'node:os';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { type ChurnFindings, measureChurn } from './churn.ts';
import { SHAPE_USAGE, type Shape, type ShapeOptions, argumentsOf, parseShapeOptions } from './shape-options.ts';
import { asShapeJson, asShapeText } from './shape-report.ts';
import { type ThinFindings, measureThin } from './thin-shape.ts';

type Found = ChurnFindings | ThinFindings;

function measureHere(shape: Shape, options: ShapeOptions): Promise<Found> {
  const progress = (line: string): void => void process.stderr.write(`bench: ${shape}: ${line}\n`);
  return shape === '32tib' ? measureThin(options, progress) : measureChurn(shape, options, progress);
}

/** In a process of its own, so that its memory is its own. */
async function measureApart(shape: Shape, options: ShapeOptions): Promise<Found> {
  const self = fileURLToPath(import.meta.url);
  const child = spawn(process.execPath, [...process.execArgv, self, ...argumentsOf(options, shape)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
  const found = output === '' ? undefined : (JSON.parse(output) as { found: Found[] }).found[0];
  if (found === undefined) throw new Error(`${shape} could not be measured: exit code ${child.exitCode}`);
  return found;
}

async function main(): Promise<void> {
  let options: ShapeOptions;
  try {
    options = parseShapeOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${SHAPE_USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  const loadBefore = loadavg()[0]!;
  const found: Found[] = [];
  const [first, ...others] = options.shapes;
  if (first !== undefined && others.length === 0) found.push(await measureHere(first, options));
  else for (const shape of options.shapes) found.push(await measureApart(shape, options));
  const findings = { options, loadBefore, found };
  console.log(options.json ? asShapeJson(findings) : asShapeText(findings));
  if (found.some(({ difference }) => difference !== undefined)) process.exitCode = 1;
}

await main();
