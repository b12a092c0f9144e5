/**
 * `npm run bench:names`: a sweep and a verification of the largest disk that is full, so that every region has as many packs as can be: how
 * many messages they take, and how much memory; with `--only verify` the verification alone. Layers and packs are simulated, manifests and plans are real, in memory. See
 * docs/performance.md.
 */
import { parseArgs } from 'node:util';
import type { JobRow } from '../shared/catalog/catalog.ts';
import { type AttemptId, type DiskId, type JobId, pointId } from '../shared/domain/ids.ts';
import { PRODUCTION_LAYOUT } from '../shared/domain/layout.ts';
import { REGION_BYTES } from '../shared/domain/units.ts';
import type { RecordPoint } from '../shared/format/documents.ts';
import { layerName } from '../shared/format/names.ts';
import type { Step } from '../shared/queue/steps.ts';
import { Chain } from '../shared/services/chain.ts';
import { itemKey, pointsPartition } from '../shared/services/keys.ts';
import { ManifestWriter } from '../shared/services/manifest-writer.ts';
import { vaultPointRow } from '../shared/services/rebuild-rows.ts';
import { runStep } from '../shared/services/run-step.ts';
import { startVerify } from '../shared/services/verify.ts';
import { openVault, readItem } from '../shared/services/vault-of.ts';
import { GROUP } from '../test/support/life.ts';
import { VAULT, type World, createWorld } from '../test/support/world.ts';
import { DenseDisk, type DensePoint, denseContainer } from './dense-container.ts';
import { inProcessQueue } from './in-process-queue.ts';
import { collectGarbage } from './meter.ts';
import { wholeNumber } from './options.ts';
import { StepMemory } from './step-memory.ts';

const VM = 'vm';
const DISK = '0a1b2c3d' as DiskId;
const MIB = 2 ** 20;
/** One region in so many has a pack that a dead run has left. */
const REGIONS_FOR_A_STRAY = 100;
const DEAD = '00000000deadbeef' as AttemptId;

const { values } = parseArgs({
  options: {
    regions: { type: 'string', default: '32768' },
    packs: { type: 'string', default: '128' },
    nights: { type: 'string', default: '3' },
    only: { type: 'string' },
  },
});
const regions = wholeNumber('--regions', values.regions, 1, 65_536);
const points: DensePoint[] = Array.from({ length: 1 + wholeNumber('--nights', values.nights, 0, 99) }, (_, night) => ({
  point: pointId(`${17_672_688_000_000_000 + night * 864_000_000}`),
  attempt: `${night + 1}`.padStart(16, '0') as AttemptId,
  packs: night === 0 ? wholeNumber('--packs', values.packs, 1, 128) : 1,
}));

const queue = inProcessQueue(1);
const memory = new StepMemory();
const asked = { listed: 0, layers: 0 };
let dense: DenseDisk | undefined;
let isDropped = (_step: Step): boolean => false;
const world = await createWorld({
  regionBytes: REGION_BYTES,
  layout: PRODUCTION_LAYOUT,
  wrap: (ports) => ({
    ...ports,
    queue: { send: async (step, delaySeconds) => (isDropped(step) ? undefined : queue.send(step, delaySeconds)) },
    vaults: {
      ...ports.vaults,
      open: async (name) =>
        denseContainer(
          await ports.vaults.open(name),
          () => dense,
          (what, howMany) => (asked[what] += howMany),
        ),
    },
  }),
});
await world.createVm(VM, [regions * REGION_BYTES]);
await world.protect(VM);
const key = itemKey(GROUP, VM);
const strays = await fill(world);

collectGarbage();
const freshRssBytes = process.memoryUsage.rss();
console.log(`${regions} regions, ${points.length} points, ${dense!.names} names and ${strays} leftovers`);
console.log(`${Math.round(freshRssBytes / MIB)} MiB before the first job\n`);
console.log('| | seconds | messages | names listed | layer reads | peak MiB | above fresh MiB |');
console.log('| --- | --- | --- | --- | --- | --- | --- |');

if (values.only !== 'verify') {
  const sweep: Step = { step: 'sweep-item', v: 1, vault: VAULT, itemId: key };
  await measure('sweep: leftovers marked', () => queue.send(sweep));
  expectStrays(strays);
  world.clock.advance((world.ports.settings.sweepGraceSeconds + 1) * 1_000);
  await measure('sweep: leftovers deleted', () => queue.send(sweep));
  expectStrays(0);
}
let job: JobId | undefined;
await measure('verification: every object looked for', async () => {
  job = await startVerify(world.ports, VAULT, key, { deepBytes: 0 }, true);
});
expectSound(await world.job(job!));
// The packs are not there to be read: what each unit would do is measured elsewhere.
isDropped = ({ step }) => step !== 'plan-verify';
await measure('verification: planned, to read every region', async () => {
  job = await startVerify(world.ports, VAULT, key, { deepPercent: 100 }, true);
});
memory.stop();

/** Writes the manifests and the record of all points, their rows, and the leftovers; answers how many these are. */
async function fill({ ports, clock, compute }: World): Promise<number> {
  const { row: item } = await readItem(ports, VAULT, key);
  const { container, row: vault } = await openVault(ports, VAULT);
  const chain = new Chain(container, item.itemId);
  const full = new DenseDisk(item.itemId, DISK, regions, points);
  const vm = (await compute.virtualMachine(item.vmResourceId))!;
  const entries: RecordPoint[] = [];
  for (const own of points) {
    const writer = new ManifestWriter(chain, own, PRODUCTION_LAYOUT);
    for (let from = 0; from < regions; from += PRODUCTION_LAYOUT.spanRegions) {
      const count = Math.min(PRODUCTION_LAYOUT.spanRegions, regions - from);
      await writer.add(
        DISK,
        Array.from({ length: count }, (_, i) => ({ region: from + i, layers: [full.counted(own)] })),
      );
    }
    entries.push(
      await writer.finish({
        item: item.itemId,
        point: own.point,
        attempt: own.attempt,
        time: new Date(clock.now()).toISOString(),
        trigger: 'onDemand',
        consistency: 'CrashConsistent',
        dueAt: null,
        retainUntil: null,
        vm: {
          id: vm.id,
          vmId: vm.vmId,
          name: vm.name,
          resourceGroup: GROUP,
          location: vm.location,
          size: vm.size,
          osType: vm.osType,
        },
        disks: [
          {
            disk: DISK,
            lun: -1,
            name: 'os',
            url: vm.disks[0]!.vhdUrl!,
            createdAt: new Date(0).toISOString(),
            sizeBytes: regions * REGION_BYTES,
            snapshot: { id: own.point, attempt: own.attempt },
          },
        ],
        lacking: [],
      }),
    );
  }
  const { record } = await chain.append(await chain.newest(), {
    kind: 'backup',
    attempt: points.at(-1)!.attempt,
    job: null,
    writtenAt: new Date(clock.now()).toISOString(),
    points: entries,
  });
  const partition = pointsPartition(vault.containerName, item.itemId);
  for (const entry of entries)
    await ports.catalog.points.upsert(
      partition,
      entry.point,
      vaultPointRow(record, entry, await chain.manifest(entry), []),
    );
  let left = 0;
  for (let region = 0; region < regions; region += REGIONS_FOR_A_STRAY, left++) {
    const name = layerName({ item: item.itemId, disk: DISK, point: points[0]!.point, region, attempt: DEAD });
    await container.put(name.replace(/layer$/, '00000001.0.pack'), Buffer.alloc(1));
  }
  dense = full;
  return left;
}

/** Runs a job from its start until no message is left. */
async function measure(name: string, start: () => Promise<unknown>): Promise<void> {
  collectGarbage();
  memory.take();
  Object.assign(asked, { listed: 0, layers: 0 });
  const startedAt = performance.now();
  await start();
  const { steps } = await queue.drain((step) => memory.watch(step.step, () => runStep(world.ports, step)));
  const seconds = (performance.now() - startedAt) / 1_000;
  const peak = Math.max(...Object.values(memory.take()));
  const cells = [steps, asked.listed, asked.layers, peak / MIB, (peak - freshRssBytes) / MIB].map((own) =>
    Math.round(own).toLocaleString('en-US'),
  );
  console.log(`| ${[name, seconds.toFixed(1), ...cells].join(' | ')} |`);
}

function expectStrays(expected: number): void {
  const blobs = world.vaults.blobs(world.vaults.containerNames()[0]!);
  const left = [...blobs.keys()].filter((name) => name.includes(DEAD)).length;
  const gone = expected === 0 ? left : strays - left;
  if (gone !== 0 || left !== expected) throw new Error(`${left} leftovers are there, ${expected} should be`);
}

function expectSound({ status, bag, errors }: JobRow): void {
  if (status !== 'Completed' || bag['Unnamed Objects'] !== '0')
    throw new Error(`the verification ended as ${status} with ${JSON.stringify({ bag, errors })}`);
}
