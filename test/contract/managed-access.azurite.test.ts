import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { DiskSnapshot } from '../../shared/disk/disk-snapshots.ts';
import { type ManagedSnapshotsOptions, managedSnapshots } from '../../shared/disk/managed-snapshots.ts';
import { pageBlobSnapshots } from '../../shared/disk/page-blob-snapshots.ts';
import { collect } from '../support/collect.ts';
import { multiplyRange } from '../support/local-storage.ts';
import { type ManagedPlatform, startManagedPlatform } from '../support/managed-platform.ts';

const KIB = 1_024;
const MIB = 1_048_576;
const GIB = 1_073_741_824;

/** Resource group and name of a snapshot. */
const partsOf = ({ id }: DiskSnapshot): [string, string] => {
  const parts = id.slice(id.indexOf('/')).split('/');
  return [parts[4]!, parts[8]!];
};

describe('access to managed snapshots', () => {
  let platform: ManagedPlatform;
  beforeAll(async () => {
    platform = await startManagedPlatform('completed');
  });
  afterAll(() => platform?.stop());

  const adapter = (options: Partial<ManagedSnapshotsOptions> = {}) =>
    managedSnapshots({ endpoint: platform.endpoint, credential: platform.credential, ...options });

  /** A disk and `count` snapshots of it, each with its number in every sector of its first 8 KiB. */
  async function family(count: number): Promise<DiskSnapshot[]> {
    const { owner } = platform;
    const url = owner.newUrl();
    await owner.create(url, MIB);
    const taken: DiskSnapshot[] = [];
    for (let n = 1; n <= count; n++) {
      await owner.write(url, 0, new Uint8Array(8 * KIB).fill(n));
      taken.push(await adapter().take(url, { n: `${n}` }));
    }
    return taken;
  }
  const stateOf = async (snapshot: DiskSnapshot): Promise<string | undefined> =>
    (await platform.client.snapshots.get(...partsOf(snapshot))).diskState;
  const statesOf = (snapshots: readonly DiskSnapshot[]) => Promise.all(snapshots.map(stateOf));
  const first = { start: 0, end: 512 };

  it('is had by seven readers and three comparisons of one family at once, and ended after', async () => {
    const taken = await family(7);
    const snapshots = adapter({ grants: { lingerMs: 0 } });
    const reads = taken.map((snapshot) => snapshots.read(snapshot, { start: 0, end: 8 * KIB }));
    const comparisons = [2, 4, 6].map((n) =>
      collect(snapshots.changed(taken[n]!, taken[n - 1]!, { start: 0, end: MIB })),
    );
    expect((await Promise.all(reads)).map((bytes) => [bytes[0], bytes.at(-1)])).toEqual(
      [1, 2, 3, 4, 5, 6, 7].map((n) => [n, n]),
    );
    expect(await Promise.all(comparisons)).toEqual([2, 4, 6].map(() => [{ kind: 'data', start: 0, end: 8 * KIB }]));
    await vi.waitFor(async () => expect(new Set(await statesOf(taken))).toEqual(new Set(['Unattached'])), 20_000);
  });

  it('goes on while it is not used for a moment, and is given up for another of the family', async () => {
    const taken = await family(6);
    const snapshots = adapter({ grants: { lingerMs: 3_600_000 } });
    for (const snapshot of taken.slice(0, 5)) await snapshots.read(snapshot, first);
    expect(await statesOf(taken)).toEqual([...Array.from({ length: 5 }, () => 'ActiveSAS'), 'Unattached']);
    await snapshots.read(taken[5]!, first);
    const states = await statesOf(taken);
    expect(states[5]).toBe('ActiveSAS');
    expect(states.filter((state) => state === 'ActiveSAS')).toHaveLength(5);
  });

  it('is waited for while another process has all five, and then says so', async () => {
    const taken = await family(6);
    const other = adapter({ grants: { lingerMs: 3_600_000 } });
    for (const snapshot of taken.slice(0, 5)) await other.read(snapshot, first);
    await expect(adapter({ grants: { patienceMs: 300 } }).read(taken[5]!, first)).rejects.toMatchObject({
      code: 'SnapshotAccessLimit',
    });
    const waiting = adapter().read(taken[5]!, first);
    await platform.client.snapshots.beginRevokeAccessAndWait(...partsOf(taken[0]!));
    expect((await waiting)[0]).toBe(6);
    // The other one finds its access ended, and asks anew when there is room.
    await adapter().remove(taken[5]!);
    expect((await other.read(taken[0]!, first))[0]).toBe(1);
  });

  it('is asked for anew when it was ended in the middle of a listing', async () => {
    const { owner } = platform;
    const url = owner.newUrl();
    await owner.create(url, MIB);
    const since = await adapter().take(url, {});
    for (let n = 0; n < 12; n++) await owner.write(url, n * 4 * KIB, new Uint8Array(512).fill(1));
    const snapshot = await adapter().take(url, {});
    const snapshots = adapter({ blobs: { rangesPerPage: 2 } });
    const found: number[] = [];
    for await (const { start } of snapshots.changed(snapshot, since, { start: 0, end: MIB })) {
      found.push(start / (4 * KIB));
      if (found.length % 3 === 0) {
        const ended = found.length % 2 === 0 ? snapshot : since;
        await platform.client.snapshots.beginRevokeAccessAndWait(...partsOf(ended));
      }
    }
    expect(found).toEqual(Array.from({ length: 12 }, (_, n) => n));
  });

  it('is renewed when half of its time has gone by, and asked for anew when it has run out all the same', async () => {
    const [snapshot] = (await family(1)) as [DiskSnapshot];
    let nowMs = 0;
    platform.gate.answerWith(() => undefined);
    const grants = () => platform.gate.seen.filter((request) => request.endsWith('beginGetAccess')).length;
    const snapshots = adapter({
      endpoint: platform.gate.endpoint,
      grants: { seconds: 600, lingerMs: 3_600_000, now: () => nowMs },
    });
    await snapshots.read(snapshot, first);
    nowMs = 299_999;
    await snapshots.read(snapshot, first);
    expect(grants()).toBe(1);
    nowMs = 300_000;
    await snapshots.read(snapshot, first);
    expect(grants()).toBe(2);

    // A clock that stands still does not know that the second has gone by; the storage does.
    await platform.client.snapshots.beginRevokeAccessAndWait(...partsOf(snapshot));
    const late = adapter({ grants: { seconds: 1, lingerMs: 3_600_000, now: () => 0 } });
    await late.read(snapshot, first);
    await vi.waitFor(async () => expect(await stateOf(snapshot)).toBe('Unattached'), 20_000);
    expect((await late.read(snapshot, first))[0]).toBe(1);
  });

  it('is not needed to list the snapshots of many disks, which is asked for once for all of them', async () => {
    const { owner, gate } = platform;
    const urls = await Promise.all(
      [0, 1, 2].map(async (n) => {
        const url = owner.newUrl(`listed${n}`);
        await owner.create(url, MIB);
        return url;
      }),
    );
    gate.answerWith(() => undefined);
    const snapshots = adapter({ endpoint: gate.endpoint, resourceGroup: 'listed' });
    const first = await snapshots.take(urls[0]!, { n: '1' });
    const listed = () => Promise.all(urls.map((url) => collect(snapshots.list(url))));
    expect((await listed()).map((own) => own.map(({ id }) => id))).toEqual([[first.id], [], []]);
    expect(gate.seen.filter((request) => /^GET .*\/snapshots$/.test(request))).toHaveLength(1);
    const second = await snapshots.take(urls[1]!, { n: '2' });
    expect((await listed()).map((own) => own.map(({ id }) => id))).toEqual([[first.id], [second.id], []]);
    await snapshots.remove(first);
    expect((await listed()).map((own) => own.length)).toEqual([0, 1, 0]);
    expect(gate.seen.filter((request) => /^GET .*\/snapshots$/.test(request))).toHaveLength(3);
  });

  it('is not needed to find what others have just taken or deleted, for who looks for it', async () => {
    const { owner } = platform;
    const urls = [owner.newUrl('look'), owner.newUrl('look')];
    for (const url of urls) await owner.create(url, MIB);
    const [own, other] = [adapter({ resourceGroup: 'looks' }), adapter({ resourceGroup: 'looks' })];
    const ids = async (url: string, look?: object) => (await collect(own.list(url, look))).map(({ id }) => id);
    const gone = await other.take(urls[0]!, { n: '1' });
    const look = {};
    expect(await ids(urls[0]!)).toEqual([gone.id]);
    const taken = await other.take(urls[0]!, { n: '2' });
    await other.remove(gone);
    expect(await ids(urls[0]!, look)).toEqual([taken.id]);
    // One look is one listing, however many disks it goes over.
    await other.take(urls[1]!, { n: '3' });
    expect(await ids(urls[1]!, look)).toEqual([]);
    expect(await ids(urls[1]!, {})).toHaveLength(1);
  });

  it('is not needed to find those in a group that was set before, nor the right to list them all', async () => {
    const { owner, gate } = platform;
    const url = owner.newUrl('moved');
    await owner.create(url, MIB);
    const former = await adapter({ resourceGroup: 'former' }).take(url, { n: '1' });
    const now = adapter({ resourceGroup: 'now' });
    const later = await now.take(url, { n: '2' });
    const found = await collect(now.list(url));
    expect(found.map(({ id, tags }) => [id, tags])).toEqual([
      [former.id, { n: '1' }],
      [later.id, { n: '2' }],
    ]);
    gate.answerWith((request) =>
      /^\/subscriptions\/[^/]+\/providers\/Microsoft.Compute\/snapshots$/.test(new URL(request.url).pathname)
        ? Response.json({ error: { code: 'AuthorizationFailed', message: 'no' } }, { status: 403 })
        : undefined,
    );
    const narrow = adapter({ endpoint: gate.endpoint, resourceGroup: 'now' });
    expect((await collect(narrow.list(url))).map(({ id }) => id)).toEqual([later.id]);
    for (const snapshot of found) await now.remove(snapshot);
    expect(await collect(now.list(url))).toEqual([]);
  });

  it('leaves no trace of a SAS in an error', async () => {
    const [snapshot, other] = (await family(2)) as [DiskSnapshot, DiskSnapshot];
    const secrets: string[] = [];
    const failing = async (status: number, code: string, retries = { maxTries: 1 }): Promise<unknown> => {
      platform.gate.answerWith((request) => {
        const signature = new URL(request.url).searchParams.get('sig');
        if (signature === null) return undefined;
        secrets.push(signature, encodeURIComponent(signature));
        return new Response(`<Error><Code>${code}</Code><Message>no</Message></Error>`, {
          status,
          headers: { 'x-ms-error-code': code, 'content-type': 'application/xml' },
        });
      });
      const snapshots = adapter({
        endpoint: platform.gate.endpoint,
        retries: 0,
        blobs: { retryOptions: retries },
        grants: { patienceMs: 0 },
      });
      const whole = { start: 0, end: MIB };
      const outcomes = await Promise.allSettled([
        snapshots.read(snapshot, first),
        collect(snapshots.allocated(snapshot, whole)),
        collect(snapshots.changed(other, snapshot, whole)),
        snapshots.probeChangeTracking(snapshot),
      ]);
      return outcomes.map((outcome) => (outcome.status === 'rejected' ? outcome.reason : undefined));
    };
    for (const [status, code] of [
      [403, 'AuthenticationFailed'],
      [500, 'InternalError'],
      [409, 'Odd'],
    ] as const) {
      const errors = await failing(status, code);
      const shown = [inspect(errors, { depth: 20, showHidden: true }), JSON.stringify(errors), String(errors)].join(
        ' ',
      );
      expect(secrets.length).toBeGreaterThan(3);
      expect(secrets.filter((secret) => shown.includes(secret))).toEqual([]);
      expect(shown).not.toMatch(/sig=(?!…)/);
      expect(shown).toContain(code);
    }
  });

  it('reads what is there across a resize over 4 TiB, and does not compare', async () => {
    const { owner } = platform;
    const url = owner.newUrl();
    await owner.create(url, 4 * 1_024 * GIB);
    const small = await adapter().take(url, {});
    await owner.resize(url, 4 * 1_024 * GIB + GIB);
    const large = await adapter().take(url, {});
    const comparing = collect(adapter().changed(large, small, { start: 0, end: MIB }));
    await expect(comparing).rejects.toMatchObject({ code: 'ChangeTrackingUnusable' });
    await expect(comparing).rejects.toThrow(/across 4 TiB/);
    expect(await collect(adapter().allocated(large, { start: 0, end: MIB }))).toEqual([]);
  });
});

describe('25,000 changed ranges in one region', () => {
  it('are told whole, of page blobs and of managed disks', async () => {
    const platform = await startManagedPlatform('completed');
    try {
      const { owner, storage } = platform;
      const everyBytes = 41 * KIB;
      const expected = Array.from({ length: 25_000 }, (_, n) => ({
        kind: 'data',
        start: n * everyBytes,
        end: n * everyBytes + 512,
      }));
      const credential = (await storage.container('many')).credential as never;
      const page = new Uint8Array(512).fill(1);
      const blob = async () => (await storage.container('many')).getPageBlobClient('disk');
      await (await blob()).create(GIB);
      const blobSince = (await (await blob()).createSnapshot()).snapshot!;
      await (await blob()).uploadPages(page, 0, 512);

      const managed = () => managedSnapshots({ endpoint: platform.endpoint, credential: platform.credential });
      const url = owner.newUrl();
      await owner.create(url, GIB);
      const since = await managed().take(url, {});
      await owner.write(url, 0, page);
      const { containerName } = await platform.blobOf(url);

      await platform.restart(async () => {
        for (const name of ['many', containerName])
          await multiplyRange(storage.dataDir, (found) => found.containerName === name, { count: 25_000, everyBytes });
      });

      const window = { start: 0, end: GIB };
      const snapshot = await managed().take(url, {});
      expect(await collect(managed().changed(snapshot, since, window))).toEqual(expected);
      expect(await collect(managed().allocated(snapshot, window))).toHaveLength(25_000);

      const blobs = pageBlobSnapshots({ credentialFor: () => credential });
      const place = (await blob()).url;
      const { id } = await blobs.take(place, {});
      expect(await collect(blobs.changed({ url: place, id }, { url: place, id: blobSince }, window))).toEqual(expected);
    } finally {
      await platform.stop();
    }
  });
});
