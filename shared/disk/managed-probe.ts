/**
 * Whether the storage behind managed snapshots really compares them (what page-blob-probe asks of page blobs):
 * - a comparison with a snapshot that never existed has to be refused; who ignores the header answers it;
 * - at hosts that are not Azure's, a comparison of a snapshot with itself has to tell nothing, though it holds data.
 */
import { BackupError } from '../domain/errors.ts';
import type { ByteRange } from '../domain/units.ts';
import type { DiskSnapshot } from './disk-snapshots.ts';
import { answerOf, storageFailure } from '../azure/storage-failures.ts';
import { asked } from './page-blob-failures.ts';
import type { SasBlobs } from './sas-blob.ts';
import { SasRefused } from './sas-grants.ts';

interface Verdict {
  readonly usable: boolean;
  readonly reason: string;
}

export interface ManagedProbeOptions {
  readonly now: () => number;
  readonly open: <T>(snapshot: DiskSnapshot, work: (url: string) => Promise<T>) => Promise<T>;
  readonly blobsOf: (snapshot: DiskSnapshot) => SasBlobs;
  /** @throws BackupError UserErrorInstantRpNotFound */
  readonly sizeOf: (snapshot: DiskSnapshot) => Promise<number>;
}

/** A verdict is asked for anew after this. */
const VERDICT_MS = 3_600_000;

/** Where Azure keeps managed disks: `md-<id>.z01.blob.storage.azure.net` and the like, in all its clouds. */
const AZURE_HOSTS =
  /\.(core\.windows\.net|core\.chinacloudapi\.cn|core\.usgovcloudapi\.net|core\.cloudapi\.de|storage\.azure\.net)$/;

/** The port's `probeChangeTracking`, remembering its verdict for each host. */
export function managedProbe(options: ManagedProbeOptions): (snapshot: DiskSnapshot) => Promise<Verdict> {
  const { now, open, blobsOf, sizeOf } = options;
  const verdicts = new Map<string, { verdict: Verdict; untilMs: number }>();

  async function judge(blobs: SasBlobs, url: string, whole: ByteRange): Promise<Verdict> {
    const never = await compared(blobs, url, neverExisted(url), whole);
    if (never === 'answered') {
      const reason = 'the storage answered a comparison with a snapshot that never existed as if all were well';
      return { usable: false, reason };
    }
    const refused = `the storage answered ${never.refused} to a comparison with a snapshot that never existed`;
    // A URL that is still good now was good then: it was the comparison that was refused, and not we.
    const held = await blobs.listed(url, whole, undefined);
    if (AZURE_HOSTS.test(new URL(url).hostname)) return { usable: true, reason: refused };
    const differs = await blobs.compared(url, url, whole, undefined);
    const holdsData = (held?.pageRange?.length ?? 0) > 0;
    const tells = (differs?.pageRange?.length ?? 0) + (differs?.clearRange?.length ?? 0);
    if (tells > 0) {
      return { usable: false, reason: `it told ${tells} differences between a snapshot and itself` };
    }
    return {
      usable: true,
      reason: holdsData ? `${refused}; between a snapshot and itself it told no difference` : refused,
    };
  }

  async function compared(
    blobs: SasBlobs,
    url: string,
    previousUrl: string,
    whole: ByteRange,
  ): Promise<'answered' | { refused: string }> {
    try {
      await blobs.compared(url, previousUrl, { start: whole.start, end: Math.min(whole.end, 512) }, undefined);
      return 'answered';
    } catch (error) {
      // A refused SAS is the answer hoped for: the one that was altered does not open what it names.
      if (error instanceof SasRefused) return { refused: error.message.replace('the storage answered ', '') };
      const failure = storageFailure(error);
      if (failure?.status === undefined || failure.status >= 500 || failure.status === 429) throw error;
      if (failure.status === 404 && !failure.code.startsWith('Previous')) throw error; // the snapshot itself
      return { refused: answerOf(failure) };
    }
  }

  return async (snapshot) => {
    const size = await sizeOf(snapshot);
    const known = (host: string) => {
      const found = verdicts.get(host);
      return found !== undefined && now() < found.untilMs ? found.verdict : undefined;
    };
    return open(snapshot, (url) =>
      asked(
        `probe change tracking of ${snapshot.id}`,
        async () => {
          const { host } = new URL(url);
          const verdict = known(host) ?? (await judge(blobsOf(snapshot), url, { start: 0, end: size }));
          verdicts.set(host, { verdict, untilMs: now() + VERDICT_MS });
          return verdict;
        },
        ({ status }, cause) =>
          status === 404
            ? new BackupError('UserErrorInstantRpNotFound', `snapshot ${snapshot.id} does not exist any more`, {
                cause,
                target: snapshot.id,
              })
            : undefined,
      ),
    );
  };
}

/** The same URL under another name: of nothing that there ever was. */
function neverExisted(url: string): string {
  const other = new URL(url);
  other.pathname = `${other.pathname}-7351`;
  return other.href;
}
