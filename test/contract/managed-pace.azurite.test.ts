import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { CallPace } from '../../shared/azure/compute-calls.ts';
import { azureCompute } from '../../shared/compute/azure-compute.ts';
import { managedSnapshots } from '../../shared/disk/managed-snapshots.ts';
import { managedTargets } from '../../shared/disk/managed-targets.ts';
import { collect } from '../support/collect.ts';
import { type ManagedPlatform, startManagedPlatform } from '../support/managed-platform.ts';

/* Whoever paces requests must see each refusal of a managed disk's storage and of Compute, those too that an SDK tries again by itself. */

const MIB = 1_048_576;
const first = { start: 0, end: 1024 };

describe('tries of requests for a managed disk', () => {
  let platform: ManagedPlatform;
  /** What is refused next: by storage, and by Compute. */
  let refusals: { from: 'storage' | 'Compute'; status: 429 | 503; retryAfter?: string }[] = [];
  let seen: string[] = [];
  let held: Promise<void> = Promise.resolve();
  beforeAll(async () => {
    platform = await startManagedPlatform('completed');
  });
  afterAll(() => platform?.stop());
  beforeEach(() => {
    refusals = [];
    seen = [];
    held = Promise.resolve();
    platform.gate.answerWith((request) => {
      const from = new URL(request.url).pathname.startsWith('/subscriptions/') ? 'Compute' : 'storage';
      if (refusals[0]?.from !== from) return undefined;
      const { status, retryAfter } = refusals.shift()!;
      const headers = retryAfter === undefined ? {} : { 'retry-after': retryAfter };
      if (from === 'Compute') return Response.json({ error: { code: 'TooManyRequests' } }, { status, headers });
      return new Response('<Error><Code>ServerBusy</Code></Error>', {
        status,
        headers: { ...headers, 'x-ms-error-code': 'ServerBusy' },
      });
    });
  });

  const tries = {
    async ready(disk: string) {
      await held;
      seen.push(`ready ${disk.split('/').at(-1)}`);
    },
    answered: (disk: string, status: number, retryAfterMs: number | undefined) =>
      void seen.push(`${disk.split('/').at(-1)} ${status}${retryAfterMs === undefined ? '' : ` ${retryAfterMs}`}`),
  };
  const fast = { retryOptions: { maxTries: 5, retryDelayInMs: 1, maxRetryDelayInMs: 2 } };
  const access = () => ({
    endpoint: platform.gate.endpoint,
    credential: platform.credential,
    blobs: fast,
    tries,
    grants: { lingerMs: 3_600_000 },
  });

  async function taken(name: string) {
    const url = platform.owner.newUrl(name);
    await platform.owner.create(url, MIB);
    await platform.owner.write(url, 512, new Uint8Array(512).fill(7));
    const snapshots = managedSnapshots(access());
    const snapshot = await snapshots.take(url, { n: '1' });
    await snapshots.read(snapshot, first);
    seen = [];
    return { snapshots, snapshot, url };
  }

  it('are all told with their disk, each after it was allowed, with what the storage says of the next', async () => {
    const { snapshots, snapshot } = await taken('told');
    refusals = [
      { from: 'storage', status: 503 },
      { from: 'storage', status: 503, retryAfter: '3' },
    ];
    const bytes = await snapshots.read(snapshot, first);
    expect([bytes[511], bytes[512]]).toEqual([0, 7]);
    expect(seen).toEqual(['ready told', 'told 503', 'ready told', 'told 503 3000', 'ready told', 'told 206']);
  });

  it('wait for the one who paces them: reads, listings and comparisons', async () => {
    const { snapshots, snapshot, url } = await taken('waits');
    await platform.owner.write(url, 4096, new Uint8Array(512).fill(8));
    const later = await snapshots.take(url, { n: '2' });
    await snapshots.read(later, first);
    seen = [];
    let letGo = (): void => undefined;
    held = new Promise((then) => (letGo = then));
    const window = { start: 0, end: MIB };
    const asked = [
      collect(snapshots.allocated(snapshot, window)),
      collect(snapshots.changed(later, snapshot, window)),
      snapshots.read(snapshot, first),
    ];
    const before = platform.gate.seen.length;
    await new Promise((then) => setImmediate(then));
    expect(platform.gate.seen.slice(before).filter((path) => !path.includes('/subscriptions/'))).toEqual([]);
    letGo();
    expect((await Promise.all(asked)).slice(0, 2)).toEqual([
      [{ start: 512, end: 1024 }],
      [{ kind: 'data', start: 4096, end: 4608 }],
    ]);
    expect(seen.toSorted()).toEqual([
      'ready waits',
      'ready waits',
      'ready waits',
      'waits 200',
      'waits 200',
      'waits 206',
    ]);
  });

  it('are told of a 429, after which reads, listings and writes are tried again as often as after a 503', async () => {
    const { snapshots, snapshot } = await taken('more');
    refusals = [{ from: 'storage', status: 429, retryAfter: '1' }];
    await snapshots.read(snapshot, first);
    expect(seen).toEqual(['ready more', 'more 429 1000', 'ready more', 'more 206']);
    refusals = [{ from: 'storage', status: 429 }];
    seen = [];
    await collect(snapshots.allocated(snapshot, { start: 0, end: MIB }));
    expect(seen).toEqual(['ready more', 'more 429', 'ready more', 'more 200']);
    // Bytes are asked for twice in each of five tries: without the SDK's streams, and with them.
    refusals = Array.from({ length: 14 }, () => ({ from: 'storage', status: 429 }) as const);
    await expect(snapshots.read(snapshot, first)).rejects.toMatchObject({ code: 'StorageUnavailable' });
    expect(refusals).toHaveLength(4);
    refusals = [];

    const targets = managedTargets(access());
    const url = platform.owner.newUrl('target');
    const target = { url, leaseId: 'lease' };
    await targets.create(target, MIB, 'job', { location: platform.location });
    refusals = [
      { from: 'storage', status: 429 },
      { from: 'storage', status: 429 },
    ];
    seen = [];
    await targets.write(target, 0, new Uint8Array(512).fill(9));
    expect(seen).toEqual(['ready target', 'target 429', 'ready target', 'target 429', 'ready target', 'target 201']);
    expect((await targets.readBack(url, { start: 0, end: 512 }))[0]).toBe(9);
    await targets.discard(target, 'job');
  });

  it('at Compute are told by their kind, each after it was allowed, with what Compute says of the next', async () => {
    const url = platform.owner.newUrl('called');
    await platform.owner.create(url, MIB);
    const calls: CallPace = {
      async run(kind, _, work, signal) {
        await held;
        expect(signal?.aborted).toBe(false);
        seen.push(`run ${kind.replace(/^\/subscriptions\/[^ ]+ /, '')}`);
        return work();
      },
      answered: (_, status, retryAfterMs) =>
        void seen.push(`${status}${retryAfterMs === undefined ? '' : ` ${retryAfterMs}`}`),
    };
    const { tries: _, ...own } = access();
    const snapshots = managedSnapshots({ ...own, calls });
    refusals = [
      { from: 'Compute', status: 429, retryAfter: '0' },
      { from: 'Compute', status: 429, retryAfter: new Date(0).toUTCString() },
    ];
    await snapshots.describe(url);
    expect(seen).toEqual(['run GET disks/*', '429 0', 'run GET disks/*', '429 0', 'run GET disks/*', '200']);
    seen = [];
    const snapshot = await snapshots.take(url, { n: '1' });
    await collect(snapshots.list(url));
    await snapshots.read(snapshot, first);
    expect(seen.filter((each) => each.startsWith('run')).map((each) => each.slice(4))).toEqual(
      expect.arrayContaining(['GET disks/*', 'PUT snapshots/*', 'GET snapshots', 'POST snapshots/*/begingetaccess']),
    );
    seen = [];
    refusals = [{ from: 'Compute', status: 429, retryAfter: '0' }];
    const vm = `/subscriptions/${platform.subscriptionId}/resourceGroups/none/providers/Microsoft.Compute/virtualMachines/none`;
    const compute = azureCompute({ endpoint: platform.gate.endpoint, credential: platform.credential, calls });
    expect(await compute.virtualMachine(vm)).toBeUndefined();
    expect(seen).toEqual(['run GET virtualmachines/*', '429 0', 'run GET virtualmachines/*', '404']);
  });
});
