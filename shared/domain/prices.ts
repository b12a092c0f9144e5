/**
 * What the storage asks for, in US dollars: samples, to weigh one way of doing a thing against another, and never a quote. From the
 * sample price table of Microsoft's blob storage cost planning pages, 2024-07-26 (locally redundant, a US region). The service's
 * gigabyte has 2^30 bytes.
 */
export interface TierPrices {
  /** A GiB kept for a month. */
  readonly gibMonth: number;
  /** One request of the kinds Put Blob, Put Block, Put Block From URL, Put Block List. */
  readonly write: number;
  /** One request of the kind Get Blob; a copy's read of its source is one too. */
  readonly read: number;
  /** A GiB read. */
  readonly gibRead: number;
}

export const PRICES = {
  hot: { gibMonth: 0.0208, write: 0.055 / 10_000, read: 0.0044 / 10_000, gibRead: 0 },
  cool: { gibMonth: 0.0115, write: 0.1 / 10_000, read: 0.01 / 10_000, gibRead: 0.01 },
} as const satisfies Record<string, TierPrices>;

export const GIB = 1_073_741_824;
/** Milliseconds in a month of storage: 30 days. */
export const MONTH_MS = 30 * 86_400_000;
