import { z } from 'zod';
import { parsed } from './answer.ts';
import type { Command } from './command.ts';
import { RefusedError } from './errors.ts';
import { OF_A_VAULT } from './options.ts';
import { bytesText, tableLines } from './table.ts';

const count = z.number();
const cleanUpRun = z.object({
  name: z.string(),
  properties: z.object({
    status: z.string(),
    budgetBytes: count,
    items: z.array(
      z.object({
        virtualMachine: z.string(),
        status: z.string(),
        done: z.object({
          merged: count,
          foldedBytes: count,
          compactions: count,
          compactedBytes: count,
          endedSnapshots: count,
          removedPoints: count,
        }),
        left: z.object({ expiredPoints: count, wastedBytes: count }),
        failures: z.array(z.object({ recoveryPoint: z.string().nullable(), code: z.string(), message: z.string() })),
      }),
    ),
  }),
});
type CleanUpRun = z.infer<typeof cleanUpRun>;

/** `strata vault clean-up`. */
export const cleanUp: Command = {
  noun: 'vault',
  verb: 'clean-up',
  summary: 'apply retention now: end snapshots, merge expired points, compact',
  details: [
    'Starts the cleanup that otherwise runs each night, within the same budget of bytes and time, and makes one that is going on look',
    'at every item again. With --wait it follows the run to its end and shows what was done and left of each item. Why an item stopped:',
    '',
    '  done    nothing is left to do              budget  its share of the bytes is used up',
    '  time    the time of the run is over        held    a point is being read, or another job was in the way',
    '  failed  something could not be done; the error is shown, and exit status 1 says so',
    '',
    'What is left is done by the next run.',
  ].join('\n'),
  options: { ...OF_A_VAULT, wait: { help: 'wait for the end and show the report' } },
  async run({ values, arm, vaultId, say, show }) {
    const path = `${vaultId()}/strata/cleanUp`;
    if (!values.isSet('wait')) {
      const begun = await arm.post(path);
      return show(begun, [`cleanup ${parsed(cleanUpRun, begun).name} is going on`]);
    }
    const { result } = await arm.run(path, {}, ({ status }) => say(`cleanup: ${status}`));
    const run = parsed(cleanUpRun, result);
    show(result, reportLines(run));
    const failed = run.properties.items.filter(({ status }) => status === 'failed').length;
    if (failed > 0) throw new RefusedError(`${failed} of ${run.properties.items.length} items could not be cleaned up`);
  },
};

function reportLines({ name, properties }: CleanUpRun): string[] {
  const rows = properties.items.map(({ virtualMachine, status, done, left }) => [
    virtualMachine,
    status,
    done.merged,
    bytesText(done.foldedBytes),
    done.compactions,
    bytesText(done.compactedBytes),
    done.endedSnapshots,
    done.removedPoints,
    left.expiredPoints,
    bytesText(left.wastedBytes),
  ]);
  const head = ['VM', 'STOPPED', 'MERGED', 'WRITTEN', 'COMPACTED', 'MOVED', 'SNAPSHOTS', 'REMOVED', 'LEFT', 'WASTED'];
  return [
    `cleanup ${name}: ${properties.status}, budget ${bytesText(properties.budgetBytes)}`,
    ...tableLines(head, rows),
    ...properties.items.flatMap(({ virtualMachine, failures }) =>
      failures.map(({ recoveryPoint, code, message }) =>
        [
          `failed: ${virtualMachine}`,
          ...(recoveryPoint === null ? [] : [`point ${recoveryPoint}`]),
          `${code}: ${message}`,
        ].join(', '),
      ),
    ),
  ];
}
