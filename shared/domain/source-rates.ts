import { BLOCK_BYTES } from './units.ts';

/** What a page blob can bear depends on the kind of its account: standard ones answer 500 requests and 60 MiB a second. */
export type AccountKind = 'standard' | 'premium';

/** What a source disk is, as far as its rates go: a page blob by the kind of its account, or a managed disk. */
export type DiskKind = AccountKind | 'managed';

/** What one source disk gives in a second, whoever asks. */
export interface SourceRates {
  readonly requestsPerSecond: number;
  readonly bytesPerSecond: number;
}

export type RatesByKind = Readonly<Record<DiskKind, SourceRates>>;

const MIB = 1024 * 1024;

/**
 * Standard: https://learn.microsoft.com/azure/storage/blobs/scalability-targets. Premium page blobs are sold by size; these are
 * those of 1 TiB (P30): https://learn.microsoft.com/azure/virtual-machines/disks-types#premium-ssds
 * Managed: what a SAS of a snapshot gives is said nowhere. Incremental snapshots are standard page blobs, whatever their disk is:
 * https://learn.microsoft.com/azure/virtual-machines/disks-incremental-snapshots
 */
export const DEFAULT_RATES: RatesByKind = {
  standard: { requestsPerSecond: 500, bytesPerSecond: 60 * MIB },
  premium: { requestsPerSecond: 5000, bytesPerSecond: 200 * MIB },
  managed: { requestsPerSecond: 500, bytesPerSecond: 60 * MIB },
};

/** What a request costs in blocks that could have been read instead: 7.7 at the standard rates. */
export function requestBlocks({ requestsPerSecond, bytesPerSecond }: SourceRates): number {
  return bytesPerSecond / requestsPerSecond / BLOCK_BYTES;
}
