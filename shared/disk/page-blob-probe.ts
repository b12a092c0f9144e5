/**
 * Whether a storage endpoint really compares snapshots.
 *
 * A server that cannot compare may answer a comparison as a plain listing: everything allocated seems changed, cleared pages
 * are never told, and the status is 200. Trusting it restores stale data. Two questions tell such a server:
 * - a comparison with a snapshot that never existed: who compares must refuse it;
 * - at endpoints that are not Azure's, a small disk with two snapshots whose difference is known to the byte.
 */
import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { PageBlobClient } from '@azure/storage-blob';
import { BackupError } from '../domain/errors.ts';
import { SECTOR_BYTES } from '../domain/units.ts';
import type { ChangedRange, DiskSnapshot } from './disk-snapshots.ts';
import { accountEndpoint, type PageBlobClients } from './page-blob-clients.ts';
import { answerOf, storageFailure } from '../azure/storage-failures.ts';
import { asked } from './page-blob-failures.ts';
import { listedRanges, type ListedPage } from './page-blob-ranges.ts';

interface Verdict {
  readonly usable: boolean;
  readonly reason: string;
}

/** A verdict is asked for anew after this: a server may have been replaced meanwhile. */
const VERDICT_MS = 3_600_000;

const HOUR_MS = 3_600_000;

/** Hosts of the public and the sovereign clouds, and of DNS zone endpoints. */
const AZURE_HOSTS =
  /\.(core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net|core\.cloudapi\.de|storage\.azure\.net)$/;

/** The port's `probeChangeTracking`, remembering its verdict for each storage account. */
export function changeTrackingProbe(
  clients: PageBlobClients,
  sizeOf: (snapshot: DiskSnapshot) => Promise<number | undefined>,
  now: () => number,
): (snapshot: DiskSnapshot) => Promise<Verdict> {
  const verdicts = new Map<string, { verdict: Promise<Verdict>; untilMs: number }>();

  async function judge(snapshot: DiskSnapshot): Promise<Verdict> {
    const first = await asksForTheImpossible(snapshot);
    if (!first.usable || AZURE_HOSTS.test(new URL(snapshot.url).hostname)) return first;
    const second = await comparesExactly(snapshot.url);
    return second.usable ? { usable: true, reason: `${first.reason}; ${second.reason}` } : second;
  }

  async function asksForTheImpossible(snapshot: DiskSnapshot): Promise<Verdict> {
    // An hour before, and at a fraction of a second that no listing of this blob has to avoid: snapshots are apart by more.
    const time = new Date(Date.parse(snapshot.id) - HOUR_MS).toISOString().replace('Z', '7351Z');
    return asked(`probe change tracking at ${snapshot.url}`, async () => {
      try {
        const client = clients.page(snapshot.url).withSnapshot(snapshot.id);
        const listing = client.listPageRangesDiff(0, SECTOR_BYTES, time, { abortSignal: clients.deadline() });
        await listing.byPage().next();
        const reason = 'the storage answered a comparison with a snapshot that never existed as if all were well';
        return { usable: false, reason };
      } catch (error) {
        const failure = storageFailure(error);
        if (failure === undefined) throw error;
        const refused = `the storage answered ${answerOf(failure)} to a comparison with a snapshot that never existed`;
        if (failure.status === 404 && (await sizeOf(snapshot)) === undefined) {
          const message = `snapshot ${snapshot.id} of ${snapshot.url} does not exist any more`;
          throw new BackupError('UserErrorInstantRpNotFound', message, { cause: error, target: snapshot.url });
        }
        if (failure.status === 404 || /^PreviousSnapshot(NotFound|CannotBeNewer)$/.test(failure.code)) {
          return { usable: true, reason: refused };
        }
        // 400, 409 and 501 with any other code: a server that does not know the operation.
        if ([400, 405, 409, 501].includes(failure.status ?? 0)) return { usable: false, reason: refused };
        throw error;
      }
    });
  }

  async function comparesExactly(url: string): Promise<Verdict> {
    const container = clients.container(url);
    const scratchName = `strata-probe-${randomBytes(8).toString('hex')}`;
    const scratchUrl = `${accountEndpoint(url)}/${scratchName}/disk`;
    const scratch = clients.container(scratchUrl);
    return asked(`probe change tracking beside ${container.url}`, async () => {
      try {
        await scratch.create({ abortSignal: clients.deadline() });
        const found = await knownDifference(clients.page(scratchUrl), clients);
        return isDeepStrictEqual(found, EXPECTED)
          ? { usable: true, reason: 'its answer about a small disk of known history was exact' }
          : { usable: false, reason: `its answer about a small disk of known history was wrong: ${brief(found)}` };
      } finally {
        // What is left over by a crash here is empty but for 64 KiB and says by its name what it is.
        await scratch.deleteIfExists({ abortSignal: clients.deadline() }).catch(() => undefined);
      }
    });
  }

  return async (snapshot) => {
    const key = accountEndpoint(snapshot.url);
    const known = verdicts.get(key);
    if (known !== undefined && now() < known.untilMs) return known.verdict;
    const verdict = judge(snapshot);
    verdicts.set(key, { verdict, untilMs: now() + VERDICT_MS });
    // A failure to ask is no verdict.
    verdict.catch(() => verdicts.delete(key));
    return verdict;
  };
}

const PROBE_BYTES = 65_536;

const EXPECTED: readonly ChangedRange[] = [
  { kind: 'data', start: 2_048, end: 4_096 },
  { kind: 'cleared', start: 16_384, end: 20_480 },
  { kind: 'data', start: 49_152, end: 49_664 },
];

/** Writes, snapshots, rewrites, clears, writes, snapshots, and asks for the difference. */
async function knownDifference(disk: PageBlobClient, { deadline }: PageBlobClients): Promise<ChangedRange[]> {
  const write = (start: number, end: number, value: number) =>
    disk.uploadPages(new Uint8Array(end - start).fill(value), start, end - start, { abortSignal: deadline() });

  await disk.create(PROBE_BYTES, { abortSignal: deadline() });
  await write(0, 8_192, 1);
  await write(16_384, 24_576, 1);
  await write(32_768, 40_960, 1);
  const before = await disk.createSnapshot({ abortSignal: deadline() });
  await write(2_048, 4_096, 2);
  await disk.clearPages(16_384, 4_096, { abortSignal: deadline() });
  await write(49_152, 49_664, 2);
  const after = await disk.createSnapshot({ abortSignal: deadline() });

  const window = { start: 0, end: PROBE_BYTES };
  const client = disk.withSnapshot(after.snapshot ?? '');
  const nextPage = async (continuationToken: string | undefined): Promise<ListedPage | undefined> =>
    (
      await client
        .listPageRangesDiff(0, PROBE_BYTES, before.snapshot ?? '', { abortSignal: deadline() })
        .byPage(continuationToken === undefined ? {} : { continuationToken })
        .next()
    ).value;
  const found: ChangedRange[] = [];
  for await (const range of listedRanges(window, nextPage)) found.push(range);
  return found;
}

function brief(ranges: readonly ChangedRange[]): string {
  return ranges.map(({ kind, start, end }) => `${kind} ${start}-${end}`).join(', ') || 'nothing changed';
}
