import { type SourceRates } from './source-rates.ts';
import { BLOCK_BYTES } from './units.ts';

/*
 * What a transfer has met and done, in numbers that add up: each unit keeps its own beside its object, of which there is one however
 * many twins have worked on it, so that nothing is counted twice.
 */

const FIELDS = [
  /** Runs of blocks that the source has called changed, and their blocks. */
  'extents',
  'changedBlocks',
  /** Blocks read from the source, in so many requests, listings included; and the requests that were saved by reading across gaps. */
  'readBlocks',
  'requests',
  'savedRequests',
  /** Blocks that were called changed and have the bytes that they had. */
  'equalBlocks',
  /** Blocks of data that the base had none of; blocks that the base had and that are cleared now. */
  'addedBlocks',
  'removedBlocks',
  /** Blocks read that the source has called unchanged, and those of them that differ from the base. */
  'auditedBlocks',
  'missedBlocks',
  /** Milliseconds that the work has taken, and of these spent waiting for the source and for the vault. */
  'elapsedMs',
  'sourceMs',
  'vaultMs',
] as const;

export type Churn = Readonly<Record<(typeof FIELDS)[number], number>>;
/** A churn that is being counted. */
export type ChurnCount = { -readonly [Field in keyof Churn]: number };

export function noChurn(): ChurnCount {
  return Object.fromEntries(FIELDS.map((field) => [field, 0])) as ChurnCount;
}

export function addChurn(to: ChurnCount, more: Churn): void {
  for (const field of FIELDS) to[field] += more[field];
}

/** As it is kept beside an object: the numbers in the order of the fields. New fields come at the end. */
export function churnText(churn: Churn): string {
  return FIELDS.map((field) => Math.round(churn[field])).join(' ');
}

/** What is not there or is no number counts nothing. */
export function readChurn(text: string | undefined): Churn {
  const numbers = (text ?? '').split(' ');
  const count = noChurn();
  for (const [i, field] of FIELDS.entries()) count[field] = Number(numbers[i] ?? 0) || 0;
  return count;
}

/** What a transfer has waited for most. */
export const BOUNDS = ['sourceRequests', 'sourceBytes', 'vault', 'processor', 'nothing'] as const;
export type Bound = (typeof BOUNDS)[number];

/**
 * What has bound the work: where most of its time has gone. With the source it is what comes nearer to the rates that it gives: more
 * requests of fewer bytes, or fewer of more.
 */
export function boundBy({ requests, readBlocks, elapsedMs, sourceMs, vaultMs }: Churn, rates: SourceRates): Bound {
  if (requests === 0) return 'nothing';
  const own = elapsedMs - sourceMs - vaultMs;
  if (vaultMs > sourceMs && vaultMs >= own) return 'vault';
  if (own > sourceMs) return 'processor';
  const byRequests = requests / rates.requestsPerSecond;
  return byRequests >= (readBlocks * BLOCK_BYTES) / rates.bytesPerSecond ? 'sourceRequests' : 'sourceBytes';
}
