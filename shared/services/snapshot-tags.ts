import { z } from 'zod';
import type { DiskSnapshot, TaggedSnapshot } from '../disk/disk-snapshots.ts';
import { managedTraits } from '../format/documents.ts';
import {
  type AttemptId,
  type DiskId,
  type JobId,
  type PointId,
  attemptId,
  diskId,
  jobId,
  pointId,
} from '../domain/ids.ts';
import { pointVm } from '../format/vm.ts';

/**
 * The tags that a snapshot carries, so that a rerun finds it, a sweep knows whose it is, and a recovery point that is in no
 * table and not yet in the vault can be found again by its snapshots alone.
 */
export interface SnapshotTags {
  readonly vault: string;
  readonly item: string;
  readonly job: string;
  readonly point: string;
  readonly attempt: string;
  readonly disk: string;
  /** How many disks the whole set has. */
  readonly disks: string;
  /** The rest of what the point's row says, as `aboutTag` writes it. */
  readonly about: string;
}

const about = z.object({
  /** Of this disk. */
  lun: z.int(),
  name: z.string(),
  createdAt: z.string(),
  managed: managedTraits.optional(),
  /** Of the set. Milliseconds since the epoch, by the Clock. */
  takenAt: z.number(),
  dueAt: z.number().optional(),
  retainUntil: z.number().optional(),
  /** LUNs of the VM's disks that the set leaves out. */
  lacks: z.array(z.int()).optional(),
  vm: pointVm,
});
export type About = z.infer<typeof about>;

/** As printable ASCII: names may have any letters, and tags may not. About 600 characters, where page blobs take 8 KiB of tags. */
export const aboutTag = (value: About): string => encodeURIComponent(JSON.stringify(value));

/** What a snapshot that was taken for a recovery point says of itself. */
export interface PointSnapshot extends DiskSnapshot {
  readonly job: JobId;
  readonly point: PointId;
  readonly attempt: AttemptId;
  readonly disk: DiskId;
  readonly disks: number;
  readonly about: About;
}

/** Undefined for a snapshot whose tags are not, or not all, as Strata writes them. */
export function readTags({ url, id, tags }: TaggedSnapshot): PointSnapshot | undefined {
  try {
    return {
      url,
      id,
      job: jobId(tags['job'] ?? ''),
      point: pointId(tags['point'] ?? ''),
      attempt: attemptId(tags['attempt'] ?? ''),
      disk: diskId(tags['disk'] ?? ''),
      disks: z.coerce.number().int().positive().parse(tags['disks']),
      about: about.parse(JSON.parse(decodeURIComponent(tags['about'] ?? ''))),
    };
  } catch {
    return undefined;
  }
}
