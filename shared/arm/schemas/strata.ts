import { z } from 'zod';
import { pointId } from '../../domain/ids.ts';
import { among, anyText, filterOf } from '../filter.ts';
import { paged } from '../paging.ts';
import { optional, utcTime } from './common.ts';

/** What is verified: one item or all, how much of it is read in depth, and the point whose restore is tried. */
export const verifyBody = z
  .strictObject({
    item: optional(z.string().min(1).max(200)),
    deepBytes: optional(z.int('expected a whole number of bytes').nonnegative()),
    deepPercent: optional(z.number().min(0).max(100)),
    drill: optional(
      z
        .union(
          [z.literal('latest'), z.string().regex(/^\d{17}$/)],
          'expected latest, or the 17 digits of a recovery point',
        )
        .transform((text) => (text === 'latest' ? text : pointId(text))),
    ),
  })
  .refine(({ deepBytes, deepPercent }) => deepBytes === undefined || deepPercent === undefined, {
    path: ['deepPercent'],
    error: 'expected deepBytes or deepPercent, not both',
  })
  .refine(({ item, drill }) => item !== undefined || drill === undefined || drill === 'latest', {
    path: ['drill'],
    error: 'expected latest, or an item too: a recovery point is that of one VM',
  })
  .prefault({});
export type VerifyBody = z.infer<typeof verifyBody>;

export const backupNowBody = z.strictObject({ vaultId: z.string(), vmId: z.string(), expiry: optional(utcTime) });

/** Which container a vault's tables are rebuilt from; asked for only where more than one says that it is the vault's. */
export const rebuildBody = z.strictObject({ container: optional(z.string().min(1).max(63)) }).prefault({});
export type RebuildBody = z.infer<typeof rebuildBody>;

export const findingsQuery = z.object({
  ...paged,
  $filter: filterOf({ state: among(['open', 'healed', 'all']), item: anyText }),
});
export type FindingsQuery = z.infer<typeof findingsQuery>;

const MEASURES = ['manifests', 'listing'] as const;

export const costsQuery = z.object({
  measure: z
    .enum(MEASURES, { error: ({ input }) => `is ${JSON.stringify(input)}: expected ${MEASURES.join(' or ')}` })
    .default('manifests'),
  point: z
    .string()
    .regex(/^\d{17}$/, {
      error: ({ input }) => `is ${JSON.stringify(input)}: expected the 17 digits of a recovery point's id`,
    })
    .optional(),
});
export type CostsQuery = z.infer<typeof costsQuery>;
