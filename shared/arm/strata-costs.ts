import { type Amount, type DiskCost, type PointCost, addAmounts, monthlyPrice, writePrice } from '../domain/costs.ts';
import { BackupError } from '../domain/errors.ts';
import { type ItemCost, type VaultCosts, vaultCosts } from '../services/costs.ts';
import { type ArmAnswer, ok } from './http.ts';
import { VAULT_TYPE, vaultId } from './ids.ts';
import type { CostsQuery } from './schemas/strata.ts';
import { theVault, type VaultCall } from './vaults.ts';

const PRICES_NOTE =
  'US dollars by sample prices of 2024-07-26 (locally redundant, a US region), to compare; no quote. Snapshots of the instant tier are billed with the disks and are not in here.';

/**
 * What the vault's container holds, point by point. `measure=listing` lists the whole container besides, to compare; `point=<id>` shows
 * that point disk by disk and region by region.
 */
export async function getCosts(call: VaultCall<CostsQuery>): Promise<ArmAnswer> {
  const { measure, point } = call.query;
  const vault = await theVault(call);
  const costs = await vaultCosts(call.ports, vault.key, { listing: measure === 'listing', inDetail: point });
  const has = ({ points, uncounted }: ItemCost): boolean =>
    [...points, ...uncounted].some((own) => own.point === point);
  if (point !== undefined && !costs.items.some(has))
    throw new BackupError('ResourceNotFound', `no item of this vault has recovery point ${point} in the vault now`, {
      target: 'point',
    });
  return ok({
    id: `${vaultId(vault.address)}/strata/costs`,
    name: 'costs',
    type: `${VAULT_TYPE}/strata/costs`,
    properties: costsView(costs, measure, point),
  });
}

function costsView(costs: VaultCosts, measure: string, point: string | undefined): Record<string, unknown> {
  const { containerName, items, uncounted, vaultDocumentBytes, bytes, listing } = costs;
  return {
    measure,
    containerName,
    bytes,
    vaultDocumentBytes,
    items: items.map((item) => itemView(item, point)),
    uncountedItems: uncounted.map(({ vmName: virtualMachine, ...why }) => ({ virtualMachine, ...why })),
    ...(listing === undefined ? {} : { listing: { ...listing, priceOfWriting: writePrice(listing.objects) } }),
    priceOfAMonth: monthlyPrice(bytes),
    prices: PRICES_NOTE,
  };
}

function itemView(item: ItemCost, point: string | undefined): Record<string, unknown> {
  const { vmName, resourceGroup, seq, points, uncounted, chainBytes, otherManifestBytes, planBytes, bytes } = item;
  return {
    virtualMachine: vmName,
    resourceGroup,
    chainRecord: seq,
    bytes,
    documents: { chainBytes, otherManifestBytes, planBytes },
    ...addAmounts(points),
    priceOfAMonth: monthlyPrice(bytes),
    points: points.map((own) => pointView(own, own.point === point)),
    uncounted: uncounted.map(({ point: recoveryPoint, ...why }) => ({ recoveryPoint, ...why })),
  };
}

function pointView(cost: PointCost, isWhole: boolean): Record<string, unknown> {
  const { point, time, bytes, manifestBytes, disks } = cost;
  return {
    recoveryPoint: point,
    recoveryPointTime: time,
    bytes,
    manifestBytes,
    ...amountOf(cost),
    explanation: explain(cost),
    ...(isWhole ? { disks: disks.map(diskView) } : {}),
  };
}

function diskView(cost: DiskCost): Record<string, unknown> {
  const { lun, name, sizeBytes, regions } = cost;
  return {
    lun,
    name,
    sizeBytes,
    ...amountOf(cost),
    regions: regions.map((own) => ({ region: own.region, ...amountOf(own) })),
  };
}

function amountOf({ layers, dataBlocks, clearedBlocks, layerBytes, wastedBytes, checkpointBytes }: Amount): Amount {
  return { layers, dataBlocks, clearedBlocks, layerBytes, wastedBytes, checkpointBytes };
}

function explain({ dataBlocks, clearedBlocks, layers, layerBytes, wastedBytes, disks }: PointCost): string {
  const regions = disks.reduce((sum, disk) => sum + disk.regionCount, 0);
  return [
    `${dataBlocks} blocks of 16 KiB are stored for this point, ${clearedBlocks} are noted as cleared`,
    `in ${layers} layers of ${regions} regions, ${layerBytes} bytes with their maps and hashes`,
    ...(wastedBytes > 0
      ? [`of which ${wastedBytes} are of blocks that no point shows any more, or tables of packs`]
      : []),
  ].join(', ');
}
