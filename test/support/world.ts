import { createHash } from 'node:crypto';
import { catalogOf } from '../../shared/catalog/tables.ts';
import { type Layout, PRODUCTION_LAYOUT } from '../../shared/domain/layout.ts';
import { DEFAULT_RATES, type SourceRates } from '../../shared/domain/source-rates.ts';
import { BLOCK_BYTES } from '../../shared/domain/units.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { DAY_MS, type Life, ManualClock, type Onlooker, VAULT, createLife } from './life.ts';
import { memoryTable } from './memory-catalog.ts';
import { memoryCompute } from './memory-compute.ts';
import { type MemoryDisksOptions, memoryDisks } from './memory-disks.ts';
import { type MemoryQueue, memoryQueue } from './memory-queue.ts';
import { memoryVault } from './memory-vault.ts';

export { DAY_MS, ManualClock, VAULT };

/** A life over in-memory ports. */
export interface World extends Life {
  readonly queue: MemoryQueue;
  readonly disks: ReturnType<typeof memoryDisks>;
  readonly vaults: ReturnType<typeof memoryVault>;
}

export interface WorldOptions extends Onlooker {
  readonly regionBytes?: number;
  readonly diff?: MemoryDisksOptions['diff'];
  /** What a disk is said to give; default: as in production. The reads across gaps hang on it. */
  readonly sourceRates?: SourceRates;
  /** As the setting, where it differs: by default regions of one new block are thin, and checkpoints come early. */
  readonly layout?: Partial<Layout>;
  /** As the setting; default 0, so that every unit is a message. */
  readonly onTheSpotBytes?: number;
  /** Stands between the services and their ports. */
  readonly wrap?: (ports: Ports) => Ports;
  /** Stands between the handlers of messages and their ports, besides. */
  readonly wrapHandlers?: (ports: Ports) => Ports;
}

const same = (ports: Ports): Ports => ports;

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const {
    regionBytes = 4 * BLOCK_BYTES,
    diff = 'exact',
    layout,
    sourceRates,
    wrap = same,
    wrapHandlers = same,
    onStep,
    onFailure,
    onTheSpotBytes = 0,
  } = options;
  const clock = new ManualClock();
  const queue = memoryQueue(clock);
  const disks = memoryDisks({ clock, diff });
  const compute = memoryCompute();
  const vaults = memoryVault();
  const catalog = catalogOf((tableName, schema) => memoryTable({ tableName, schema }));
  let named = 0;
  const hex = (digits: number): string => createHash('sha256').update(`${named++}`).digest('hex').slice(0, digits);
  const ports = wrap({
    vaults,
    snapshots: disks.snapshots,
    targets: disks.targets,
    catalog,
    queue,
    compute,
    accounts: { blobEndpoint: (name) => `https://${name}.example`, kindOf: () => 'standard' },
    clock,
    ids: { hex, guid: () => hex(32).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-') },
    settings: {
      geometry: { regionBytes },
      layout: { ...PRODUCTION_LAYOUT, thinBytes: BLOCK_BYTES, checkpointDepth: 3, ...layout },
      sourceRates:
        sourceRates === undefined
          ? DEFAULT_RATES
          : { standard: sourceRates, premium: sourceRates, managed: sourceRates },
      deleteGraceSeconds: 60,
      sweepGraceSeconds: 3600,
      onTheSpotBytes,
      auditSeconds: 180,
      jobHistoryDays: 180,
      verifyNightlyBytes: 2 ** 30,
      drillAccount: 'scratch',
      cleanUpSeconds: 21_600,
      cleanUpBytes: 2 ** 38,
    },
    log: () => undefined,
  });
  const life = await createLife(
    {
      ports,
      handlerPorts: wrapHandlers(ports),
      clock,
      compute,
      targetAccount: 'restored',
      async createDisk(vm, index, sizeBytes) {
        const url = `https://disks${index % 2}.example/vhds/${vm}-${index}.vhd`;
        await disks.create(url, sizeBytes);
        return url;
      },
      readDisk: (url) => disks.read(url, { start: 0, end: disks.sizeBytes(url) }),
      disksIn: async (containerUrl) =>
        disks.urls().filter((url) => url.startsWith(`${containerUrl}/`) && url.endsWith('.vhd')),
      async next() {
        for (;;) {
          const message = queue.take();
          if (message !== undefined)
            return { ...message, done: () => undefined, putBack: () => queue.putBack(message, 10) };
          const next = queue.waiting()[0];
          if (next === undefined) return undefined;
          clock.advance(next.dueMs - clock.now());
        }
      },
    },
    { onStep, onFailure },
  );
  return { ...life, queue, disks, vaults };
}
