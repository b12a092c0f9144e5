import type { AttemptId, DiskId } from '../domain/ids.ts';
import type { Layout } from '../domain/layout.ts';
import type { Manifest, ManifestDisk, ManifestRegion, PartRef, RecordPoint } from '../format/documents.ts';
import type { Chain } from './chain.ts';
import { type LayerSum, NOTHING, type Span, regionsOf, spansOf, sumOfManifest } from './spans.ts';

/** A manifest without what it says of regions. */
export type ManifestHead = Omit<Manifest, 'format' | 'disks'> & {
  readonly disks: readonly Omit<ManifestDisk, 'regions' | 'parts'>[];
};

/**
 * Writes a manifest a span at a time: in one document where its regions are few, with a part for each span where they are many. What
 * it holds at any time is a span, and the names of the parts. Twins that write the same come to the same parts.
 */
export class ManifestWriter {
  readonly #chain: Chain;
  readonly #of: Pick<ManifestHead, 'point' | 'attempt'>;
  readonly #inlineRegions: number;
  readonly #parts = new Map<DiskId, PartRef[]>();
  #inline: { disk: DiskId; regions: readonly ManifestRegion[] }[] = [];
  #count = 0;
  #sum: LayerSum = NOTHING;

  constructor(
    chain: Chain,
    of: Pick<ManifestHead, 'point' | 'attempt'>,
    { inlineRegions }: Pick<Layout, 'inlineRegions'>,
  ) {
    this.#chain = chain;
    this.#of = of;
    this.#inlineRegions = inlineRegions;
  }

  /** The regions of one span of a disk, ascending. A disk's spans come in ascending order, disks in any. */
  async add(disk: DiskId, regions: readonly ManifestRegion[]): Promise<void> {
    if (regions.length === 0) return;
    this.#count += regions.length;
    this.#inline.push({ disk, regions });
    if (this.#parts.size > 0 || this.#count > this.#inlineRegions) await this.#flush();
  }

  /** A part of the manifest that this one replaces, and that stays as it is. */
  async keep(disk: DiskId, part: PartRef): Promise<void> {
    await this.#flush();
    this.#list(disk).push(part);
  }

  /** Stores the manifest, behind its parts. */
  finish(head: ManifestHead): Promise<RecordPoint> {
    const isWhole = this.#parts.size === 0;
    const manifest: Manifest = {
      ...head,
      ...this.#of,
      format: isWhole ? 2 : 3,
      disks: head.disks.map((own) => {
        const regions = this.#inline.filter(({ disk }) => disk === own.disk).flatMap((each) => each.regions);
        const parts = this.#parts.get(own.disk);
        return { ...own, regions, parts };
      }),
    };
    this.#sum = sumOfManifest(manifest);
    return this.#chain.putManifest(manifest);
  }

  /** What the layers of the finished manifest add up to. */
  get sum(): LayerSum {
    return this.#sum;
  }

  async #flush(): Promise<void> {
    const waiting = this.#inline;
    this.#inline = [];
    const { point, attempt } = this.#of;
    for (const { disk, regions } of waiting)
      this.#list(disk).push(await this.#chain.putPart(attempt, { point, disk }, [...regions]));
  }

  #list(disk: DiskId): PartRef[] {
    const list = this.#parts.get(disk) ?? [];
    this.#parts.set(disk, list);
    return list;
  }
}

/**
 * Writes the manifest `old` anew as that of `attempt`. For each span of a disk `change` answers what it has now, or undefined where it
 * stays as it is: parts are then kept by name. `others` are manifests whose regions may come into this one.
 */
export async function rewriteManifest(
  chain: Chain,
  old: Manifest,
  others: readonly Manifest[],
  attempt: AttemptId,
  layout: Pick<Layout, 'inlineRegions' | 'spanRegions'>,
  change: (disk: ManifestDisk, span: Span) => Promise<ManifestRegion[] | undefined>,
): Promise<RecordPoint> {
  const writer = new ManifestWriter(chain, { point: old.point, attempt }, layout);
  for (const own of old.disks) {
    for (const span of spansOf(own.disk, [old, ...others], layout)) {
      const changed = await change(own, span);
      const parts = (own.parts ?? []).filter(({ first, last }) => first < span.to && last >= span.from);
      if (changed !== undefined) await writer.add(own.disk, changed);
      else if (parts.length === 0) await writer.add(own.disk, await regionsOf(chain, own, span));
      else for (const part of parts) await writer.keep(own.disk, part);
    }
  }
  return writer.finish(old);
}
