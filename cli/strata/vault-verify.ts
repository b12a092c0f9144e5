import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { parsed } from './answer.ts';
import type { ArmClient } from './arm-client.ts';
import type { Command, CommandContext } from './command.ts';
import { RefusedError, UsageError } from './errors.ts';
import { OF_A_VAULT } from './options.ts';

const LOOK_MS = 2_000;

const started = z.object({
  value: z.array(z.object({ id: z.string(), name: z.string(), virtualMachine: z.string() })),
});
const job = z.object({
  properties: z.object({
    status: z.string(),
    progress: z.record(z.string(), z.string()),
    errors: z.array(z.object({ code: z.string(), message: z.string() })),
  }),
});
const finding = z.object({
  properties: z.object({
    virtualMachine: z.string(),
    kind: z.string(),
    object: z.string(),
    code: z.string(),
    message: z.string(),
    disk: z.object({ id: z.string(), lun: z.number().optional(), name: z.string().optional() }).optional(),
    region: z.object({ number: z.number() }).optional(),
    blocks: z.array(z.object({ start: z.number(), count: z.number() })),
    blocksLeftOut: z.number(),
    recoveryPoints: z.array(z.string()),
    recoveryPointsLeftOut: z.number(),
    newestPointIsSound: z.boolean(),
  }),
});
type Finding = z.infer<typeof finding>['properties'];

/** `strata vault verify`. */
export const verifyVault: Command = {
  noun: 'vault',
  verb: 'verify',
  summary: 'look for damage in a vault',
  details: [
    'Compares what is in the container with what the recovery points name, reads some of it and checks every block against its',
    'hash (regions that have waited longest come first), and compares that with the snapshots that are still there. With --drill a',
    'whole point is restored to a scratch container, compared, and taken away again. Nothing in the vault is changed.',
    '',
    'With --wait it follows the jobs to their end and shows what is known to be wrong; the exit status is 1 if anything is. The next',
    'backup writes again what the source disk still has of it.',
  ].join('\n'),
  options: {
    ...OF_A_VAULT,
    item: { value: 'VM', help: 'only this VM (or GROUP/VM); by default every VM that the vault protects' },
    deep: {
      value: 'AMOUNT',
      help: 'how much to read: all, a number of bytes, or a share such as 10%; by default what a night reads',
    },
    drill: { value: 'POINT', help: 'try the restore of this recovery point of --item, or of the latest one: latest' },
    wait: { help: 'follow the jobs to their end, then show what is wrong' },
    list: { help: 'start nothing: only show what is known to be wrong' },
  },
  check(values) {
    const given = ['deep', 'drill'].filter((name) => values.text(name) !== undefined);
    const [other] = [...given, ...(values.isSet('wait') ? ['wait'] : [])];
    if (values.isSet('list') && other !== undefined)
      throw new UsageError(`--list starts nothing and waits for nothing: leave out --${other}`);
    amount(values.text('deep'));
    const drill = values.text('drill');
    if (drill !== undefined && drill !== 'latest' && values.text('item') === undefined)
      throw new UsageError('--drill with a recovery point needs --item: a recovery point is that of one VM');
  },
  async run({ values, arm, vaultId, say, show }) {
    const vault = vaultId();
    const item = values.text('item');
    if (values.isSet('list')) return showFindings(arm, vault, item, show, []);
    const body = { item, drill: values.text('drill'), ...amount(values.text('deep')) };
    const { value: jobs } = parsed(started, await arm.post(`${vault}/strata/verify`, body));
    for (const { name, virtualMachine } of jobs) say(`${virtualMachine}: job ${name}`);
    if (!values.isSet('wait'))
      return show(
        { jobs },
        jobs.map(({ name, virtualMachine }) => `${virtualMachine}  ${name}`),
      );
    const failures: string[] = [];
    for (const { id, virtualMachine } of jobs) {
      const { status, progress, errors } = await ended(arm, id);
      const told = Object.entries(progress).map(([name, text]) => `${name} ${text}`);
      say([`${virtualMachine}: ${status}`, ...told].join(', '));
      // Damage is told of by its findings.
      for (const { code, message } of errors)
        if (code !== 'VaultDamaged') failures.push(`${virtualMachine}: ${code}: ${message}`);
    }
    await showFindings(arm, vault, item, show, failures);
  },
};

/** How much is to be read, as the service is asked for it. @throws UsageError */
function amount(text: string | undefined): { deepBytes?: number; deepPercent?: number } {
  if (text === undefined) return {};
  if (text === 'all') return { deepPercent: 100 };
  const [, number = '', percent] = /^(\d+(?:\.\d+)?)(%)?$/.exec(text) ?? [];
  const value = Number(number);
  if (percent === '%' && value <= 100 && number !== '') return { deepPercent: value };
  if (percent === undefined && Number.isSafeInteger(value) && number !== '') return { deepBytes: value };
  throw new UsageError(`--deep must be all, a number of bytes, or a share such as 10%; it is "${text}"`);
}

async function ended(arm: ArmClient, id: string): Promise<z.infer<typeof job>['properties']> {
  for (;;) {
    const { properties } = parsed(job, await arm.get(id));
    if (!['InProgress', 'Cancelling'].includes(properties.status)) return properties;
    await delay(LOOK_MS);
  }
}

/** @throws RefusedError when something is wrong, after it has been shown */
async function showFindings(
  arm: ArmClient,
  vault: string,
  item: string | undefined,
  show: CommandContext['show'],
  failures: readonly string[],
): Promise<void> {
  const found: unknown[] = [];
  const filter: Record<string, string> =
    item === undefined ? {} : { $filter: `item eq '${item.replaceAll("'", "''")}'` };
  for await (const entry of arm.list(`${vault}/strata/findings`, filter)) found.push(entry);
  const lines = found.flatMap((entry) => linesOf(parsed(finding, entry).properties));
  show({ findings: found, failures }, [...lines, ...failures, `${found.length} findings`]);
  const [failure] = failures;
  if (failure !== undefined) throw new RefusedError(failure);
  if (found.length > 0) throw new RefusedError(`${found.length} findings are open`);
}

function linesOf(own: Finding): string[] {
  const blocks = own.blocks.map(({ start, count }) => (count === 1 ? `${start}` : `${start}-${start + count - 1}`));
  const more = own.blocksLeftOut > 0 ? ` and ${own.blocksLeftOut} more` : '';
  const disk = own.disk === undefined ? '' : `, disk ${own.disk.name ?? own.disk.id}`;
  const region = own.region === undefined ? '' : `, region ${own.region.number}`;
  const where = blocks.length === 0 ? '' : `, blocks ${blocks.join(' ')}${more}`;
  const points = own.recoveryPoints.length + own.recoveryPointsLeftOut;
  return [
    `${own.virtualMachine}${disk}${region}${where}`,
    `  ${own.code}: ${own.message}`,
    `  ${own.object}`,
    points === 0
      ? '  no recovery point is touched'
      : `  touches ${own.recoveryPoints.join(' ')}${own.newestPointIsSound ? '; the newest point is sound' : ''}`,
  ];
}
