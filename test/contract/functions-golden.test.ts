import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { QUEUES } from '../../shared/queue/steps.ts';

interface Indexed {
  readonly name: string;
  readonly rawBindings: readonly string[];
}

const LOADER = fileURLToPath(new URL('../support/indexed-functions.ts', import.meta.url));
const GOLDEN = new URL('../fixtures/functions.golden.json', import.meta.url);

let indexed: Indexed[];
const trigger = ({ rawBindings }: Indexed) => JSON.parse(rawBindings[0] ?? '{}') as Record<string, unknown>;

beforeAll(async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [LOADER]);
  indexed = JSON.parse(stdout) as Indexed[];
});

/** The list is part of the deployment: who changes a trigger changes it by hand, and a reviewer sees which door or tick is new. */
describe('the functions that a host is told of', () => {
  it('are those of the golden list, binding by binding', async () => {
    expect(indexed).toEqual(JSON.parse(await readFile(GOLDEN, 'utf8')));
  });

  it('have names that the host takes, each once', () => {
    const names = indexed.map(({ name }) => name.toLowerCase());
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z][a-z0-9_-]{0,127}$/);
  });

  it('listen to every queue of steps and to its poison, once each, on the app storage', () => {
    const queues = indexed.map(trigger).filter(({ type }) => type === 'queueTrigger');
    expect(queues.map(({ queueName }) => String(queueName)).toSorted()).toEqual(
      QUEUES.flatMap((queue) => [queue, `${queue}-poison`]).toSorted(),
    );
    expect(new Set(queues.map(({ connection }) => connection))).toEqual(new Set(['AzureWebJobsStorage']));
  });
});
