import type { JobRow } from '../catalog/catalog.ts';
import { type Candidates, chooseRegions, isSuspect } from '../domain/findings.ts';
import type { DiskId } from '../domain/ids.ts';
import { regionsIn } from '../domain/units.ts';
import { eachOpenFinding, healFinding, placeOf } from './findings.ts';
import { spansOf, within } from './spans.ts';
import type { LiveDisk, LivePoints } from './verify-points.ts';
import type { VerifyWork } from './verify-work.ts';

/*
 * Which regions a verification reads in depth. To choose, all have to be compared with each other; what is kept of each is 17 bytes, which for 64
 * disks of 32 TiB are 34 MiB. What manifests say of them is read a span at a time.
 */

/** What a night reads at least of all that an item has: the whole in some three months. */
const NIGHTLY_SHARE = 0.01;

/** A disk of a verification. `comparedBytes`: what can be compared with a snapshot, where there is one. */
export interface ChoiceDisk {
  readonly live: LiveDisk;
  readonly comparedBytes: number;
}

/** The regions of some disks, one after another. */
export class RegionTable implements Candidates {
  readonly bytes: Float64Array;
  readonly checkedAt: Float64Array;
  readonly suspect: Uint8Array;
  /** Where each disk's regions begin, and where the last one's end. */
  readonly #starts: readonly number[];
  readonly #disks: ReadonlyMap<string, number>;

  /** `counts` are how many regions each disk may have. */
  constructor(disks: readonly DiskId[], counts: readonly number[]) {
    const starts = [0];
    for (const count of counts) starts.push(starts.at(-1)! + count);
    this.#starts = starts;
    this.#disks = new Map(disks.map((disk, index) => [disk, index]));
    this.bytes = new Float64Array(starts.at(-1)!).fill(NaN);
    this.checkedAt = new Float64Array(starts.at(-1)!).fill(-Infinity);
    this.suspect = new Uint8Array(starts.at(-1)!);
  }

  /** Makes a region a candidate, or one with so many bytes more. */
  add(disk: number, region: number, bytes: number): void {
    const at = this.#starts[disk]! + region;
    const known = this.bytes[at]!;
    this.bytes[at] = (Number.isNaN(known) ? 0 : known) + bytes;
  }

  /** The number of a region; undefined where it is no candidate. */
  find(disk: string, region: number): number | undefined {
    const index = this.#disks.get(disk);
    if (index === undefined) return undefined;
    const at = this.#starts[index]! + region;
    return at < this.#starts[index + 1]! && !Number.isNaN(this.bytes[at]!) ? at : undefined;
  }

  /** The disk and the region of a number. */
  placeOf(number: number): { disk: number; region: number } {
    const disk = this.#starts.findLastIndex((start) => start <= number);
    return { disk, region: number - this.#starts[disk]! };
  }
}

/**
 * Chooses what is read in depth: of each disk the regions, ascending. Findings of regions that no live point has any more have healed with
 * them; and when a region was read is forgotten once none of the disks can have it. Both only if these are all.
 */
export async function chooseDeep(
  work: VerifyWork,
  live: LivePoints,
  disks: readonly ChoiceDisk[],
): Promise<Map<DiskId, number[]>> {
  const { ports, partition, job } = work;
  const { geometry } = ports.settings;
  const table = await candidates(work, live, disks);
  // Where a manifest is damaged nobody knows which regions there are.
  const areAll = live.damaged.length === 0;
  const sizes = new Map<string, number>(disks.map((own) => [own.live.disk, own.live.sizeBytes]));
  for await (const { key, row } of ports.catalog.checks.list(partition)) {
    const { disk, region } = placeOf(key);
    const at = table.find(disk, region);
    // One that no layer speaks of is read on some nights only.
    const isThere = at !== undefined || region < regionsIn(sizes.get(disk) ?? 0, geometry);
    if (at !== undefined) table.checkedAt[at] = row.checkedAt;
    else if (areAll && !isThere) await ports.catalog.checks.remove(partition, key);
  }
  for await (const { key, row } of eachOpenFinding(ports, partition)) {
    if (row.disk === undefined || row.region === undefined) continue;
    if (row.kind === 'stale') continue; // it is of points, and of a region that perhaps none of them has
    const at = table.find(row.disk, row.region);
    if (at === undefined) {
      if (areAll) await healFinding(ports, partition, key, { since: job.startedAt, by: job.jobId });
    } else if (isSuspect(row, ports.clock.now(), job.userTriggered)) table.suspect[at] = 1;
  }
  const total = table.bytes.reduce((sum, bytes) => sum + (Number.isNaN(bytes) ? 0 : bytes), 0);
  const chosen = chooseRegions(table, budgetOf(job, total, ports.settings.verifyNightlyBytes)).sort((a, b) => a - b);
  const byDisk = new Map<DiskId, number[]>(disks.map((own) => [own.live.disk, []]));
  for (const number of chosen) {
    const { disk, region } = table.placeOf(number);
    byDisk.get(disks[disk]!.live.disk)!.push(region);
  }
  return byDisk;
}

/** All regions that live points have a layer of, and those that can only be compared: a source may have left all of one out. */
async function candidates(
  { ports, chain }: VerifyWork,
  { manifests }: LivePoints,
  disks: readonly ChoiceDisk[],
): Promise<RegionTable> {
  const { geometry, layout } = ports.settings;
  const spans = disks.map(({ live }) => spansOf(live.disk, manifests, layout));
  const compared = disks.map(({ comparedBytes }) => regionsIn(comparedBytes, geometry));
  const table = new RegionTable(
    disks.map(({ live }) => live.disk),
    disks.map((_, index) => Math.max(spans[index]!.at(-1)?.to ?? 0, compared[index]!)),
  );
  for (const [index, { live }] of disks.entries()) {
    for (let region = 0; region < compared[index]!; region++) table.add(index, region, 0);
    for (const span of spans[index]!) {
      for (const own of (await within(chain, manifests, live.disk, span)).flatMap((each) => each.disks))
        for (const { region, layers } of own.regions)
          table.add(
            index,
            region,
            layers.reduce((sum, { storedBytes }) => sum + storedBytes, 0),
          );
    }
  }
  return table;
}

function budgetOf({ verify }: JobRow, totalBytes: number, nightlyBytes: number): number {
  if (verify?.deepBytes !== undefined) return verify.deepBytes;
  if (verify?.deepPercent === 100) return Infinity;
  if (verify?.deepPercent !== undefined) return (totalBytes * verify.deepPercent) / 100;
  return nightlyBytes === 0 ? 0 : Math.max(nightlyBytes, totalBytes * NIGHTLY_SHARE);
}
