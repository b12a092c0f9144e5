import { z } from 'zod';
import { parsed } from './answer.ts';
import type { Command } from './command.ts';
import { OF_A_VAULT } from './options.ts';
import { bytesText, tableLines } from './table.ts';

const count = z.number();
const amount = { layers: count, dataBlocks: count, clearedBlocks: count, layerBytes: count, wastedBytes: count };
const price = z.object({ hot: count, cool: count });
const point = z.object({
  recoveryPoint: z.string(),
  recoveryPointTime: z.string(),
  bytes: count,
  ...amount,
  disks: z
    .array(
      z.object({
        lun: count,
        name: z.string(),
        ...amount,
        regions: z.array(z.object({ region: count, ...amount })),
      }),
    )
    .optional(),
});
const report = z.object({
  properties: z.object({
    containerName: z.string(),
    bytes: count,
    priceOfAMonth: price,
    prices: z.string(),
    listing: z.object({ objects: count, bytes: count, unexplainedBytes: count }).optional(),
    uncountedItems: z
      .array(
        z.object({
          virtualMachine: z.string(),
          item: z.string(),
          code: z.string(),
          message: z.string(),
          documentBytes: count,
        }),
      )
      .default([]),
    items: z.array(
      z.object({
        virtualMachine: z.string(),
        bytes: count,
        documents: z.object({ chainBytes: count, otherManifestBytes: count, planBytes: count }),
        points: z.array(point),
        uncounted: z
          .array(z.object({ recoveryPoint: z.string(), code: z.string(), message: z.string(), manifestBytes: count }))
          .default([]),
      }),
    ),
  }),
});
type Costs = z.infer<typeof report>['properties'];

/** `strata vault costs`. */
export const costs: Command = {
  noun: 'vault',
  verb: 'costs',
  summary: 'what the vault stores, recovery point by recovery point',
  details: [
    'Adds up what the recovery points of a vault take in its container, to the byte. Every stored block belongs to one point: the',
    'one whose layer it is in; a point that goes leaves the blocks that later points still show to its successor.',
    '',
    '--listing lists the whole container besides and says how many of its bytes the report does not explain: at a quiet moment none.',
    '--point shows one point disk by disk and region by region.',
  ].join('\n'),
  options: {
    ...OF_A_VAULT,
    listing: { help: 'list the whole container besides, to compare' },
    point: { value: 'ID', help: 'show this recovery point region by region' },
  },
  async run({ values, arm, vaultId, show }) {
    const id = values.text('point');
    const answer = await arm.get(`${vaultId()}/strata/costs`, {
      ...(values.isSet('listing') ? { measure: 'listing' } : {}),
      ...(id === undefined ? {} : { point: id }),
    });
    show(answer, costLines(parsed(report, answer).properties));
  },
};

function costLines(costs: Costs): string[] {
  const { items, uncountedItems, listing, priceOfAMonth } = costs;
  const rows = items.flatMap(({ virtualMachine, points, uncounted, documents, bytes }) => [
    ...points.map((own) => [
      virtualMachine,
      own.recoveryPoint,
      own.recoveryPointTime,
      own.dataBlocks,
      own.clearedBlocks,
      own.bytes,
      own.wastedBytes,
    ]),
    [
      virtualMachine,
      'records and plans',
      '',
      0,
      0,
      uncounted.reduce(
        (sum, { manifestBytes }) => sum + manifestBytes,
        documents.chainBytes + documents.otherManifestBytes + documents.planBytes,
      ),
      0,
    ],
    [virtualMachine, 'together', '', 0, 0, bytes, points.reduce((sum, own) => sum + own.wastedBytes, 0)],
  ]);
  const head = ['VM', 'RECOVERY POINT', 'TIME', 'BLOCKS', 'CLEARED', 'BYTES', 'WASTED'];
  return [
    ...(rows.length === 0 ? ['no protected items'] : tableLines(head, rows)),
    ...items.flatMap(({ points }) => points.flatMap((own) => regionLines(own))),
    ...items.flatMap(({ virtualMachine, uncounted }) =>
      uncounted.map(
        ({ recoveryPoint, code, message }) =>
          `not counted: recovery point ${recoveryPoint} of ${virtualMachine}, since its manifest cannot be read (${code}: ${message})`,
      ),
    ),
    ...uncountedItems.map(
      ({ virtualMachine, item, code, message, documentBytes }) =>
        `not counted: ${virtualMachine || 'an item that no row names'} (${item}), but for ${documentBytes} bytes of documents, since its newest chain record cannot be read (${code}: ${message})`,
    ),
    `container ${costs.containerName}: ${costs.bytes} bytes (${bytesText(costs.bytes)})`,
    `a month: ${priceOfAMonth.hot.toFixed(4)} hot, ${priceOfAMonth.cool.toFixed(4)} cool. ${costs.prices}`,
    ...(listing === undefined
      ? []
      : [
          `listed: ${listing.objects} objects, ${listing.bytes} bytes; not explained: ${listing.unexplainedBytes} bytes`,
        ]),
  ];
}

function regionLines({ recoveryPoint, disks }: z.infer<typeof point>): string[] {
  if (disks === undefined) return [];
  const rows = disks.flatMap(({ name, lun, regions }) =>
    regions.map((own) => [
      name,
      lun,
      own.region,
      own.layers,
      own.dataBlocks,
      own.clearedBlocks,
      own.layerBytes,
      own.wastedBytes,
    ]),
  );
  const head = ['DISK', 'LUN', 'REGION', 'LAYERS', 'BLOCKS', 'CLEARED', 'BYTES', 'WASTED'];
  return [`recovery point ${recoveryPoint}:`, ...tableLines(head, rows)];
}
