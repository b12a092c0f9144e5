import { BackupError } from '../../shared/domain/errors.ts';
import type { ChangedRange, DiskSnapshot, DiskSnapshots } from '../../shared/disk/disk-snapshots.ts';
import type { ByteRange } from '../../shared/domain/units.ts';

/** How a source of changes answers otherwise than it should. */
export type Lie =
  /** The range at this byte is not told. */
  | { readonly kind: 'omits'; readonly at: number }
  /** A range that has not changed is told too. */
  | { readonly kind: 'adds'; readonly range: ByteRange }
  /** Each written range is told with all around it, in multiples of 4 MiB. */
  | { readonly kind: 'widens' }
  /** Nothing is ever cleared. */
  | { readonly kind: 'forgets clears' }
  /** One range an answer. */
  | { readonly kind: 'pages singly' }
  /** The blob was replaced since. */
  | { readonly kind: 'was overwritten' }
  /** The earlier snapshot goes after the first range has been told. */
  | { readonly kind: 'vanishes' };

const WIDE_BYTES = 4 * 1024 * 1024;

/** Snapshots whose `changed` lies as `lie` says at each question; undefined: it answers truly. */
export function lyingDiff(snapshots: DiskSnapshots, lie: () => Lie | undefined): DiskSnapshots {
  return {
    ...snapshots,
    async *changed(snapshot, since, window): AsyncGenerator<ChangedRange> {
      const told = lie();
      const truth = (from: ByteRange): AsyncIterable<ChangedRange> => snapshots.changed(snapshot, since, from);
      switch (told?.kind) {
        case undefined:
          yield* truth(window);
          return;
        case 'omits':
          for await (const range of truth(window)) yield* without(range, told.at);
          return;
        case 'adds':
          yield* withRange(truth(window), clip(told.range, window));
          return;
        case 'widens':
          yield* widened(truth(window), window);
          return;
        case 'forgets clears':
          for await (const range of truth(window)) if (range.kind === 'data') yield range;
          return;
        case 'pages singly':
          for (let at = window.start; at < window.end;) {
            const next = await first(truth({ start: at, end: window.end }));
            if (next === undefined) return;
            yield next;
            at = next.end;
          }
          return;
        case 'was overwritten':
          throw refused(snapshot, since, 'BlobOverwritten');
        case 'vanishes':
          for await (const range of truth(window)) {
            yield range;
            break;
          }
          throw refused(snapshot, since, 'PreviousSnapshotNotFound');
      }
    },
  };
}

function refused(snapshot: DiskSnapshot, since: DiskSnapshot, answer: string): BackupError {
  const message = `snapshot ${snapshot.id} of ${snapshot.url} cannot be compared with that of ${since.id}: 409 ${answer}`;
  return new BackupError('ChangeTrackingUnusable', message, { target: snapshot.url });
}

const clip = ({ start, end }: ByteRange, window: ByteRange): ByteRange => ({
  start: Math.max(start, window.start),
  end: Math.min(end, window.end),
});

/** `range` without the block of 16 KiB at `at`. */
function* without(range: ChangedRange, at: number): Generator<ChangedRange> {
  const before = { ...range, end: Math.min(range.end, at) };
  const after = { ...range, start: Math.max(range.start, at + 16_384) };
  if (before.start < before.end) yield before;
  if (after.start < after.end) yield after;
}

async function first<T>(items: AsyncIterable<T>): Promise<T | undefined> {
  for await (const item of items) return item;
  return undefined;
}

/** Ascending and without overlap, as the port has it; what is told of both is written. */
async function* withRange(ranges: AsyncIterable<ChangedRange>, more: ByteRange): AsyncGenerator<ChangedRange> {
  const all: ChangedRange[] = more.start < more.end ? [{ kind: 'data', ...more }] : [];
  for await (const range of ranges) {
    const before = { ...range, end: Math.min(range.end, more.start) };
    const after = { ...range, start: Math.max(range.start, more.end) };
    for (const part of [before, after]) if (part.start < part.end) all.push(part);
  }
  yield* all.sort((a, b) => a.start - b.start);
}

async function* widened(ranges: AsyncIterable<ChangedRange>, window: ByteRange): AsyncGenerator<ChangedRange> {
  let end = window.start;
  for await (const range of ranges) {
    const start = Math.max(end, window.start, Math.floor(range.start / WIDE_BYTES) * WIDE_BYTES);
    end = Math.max(end, Math.min(window.end, Math.ceil(range.end / WIDE_BYTES) * WIDE_BYTES));
    if (start < end) yield { kind: 'data', start, end };
  }
}
