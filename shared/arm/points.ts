import type { PointRow } from '../catalog/catalog.ts';
import type { PointId } from '../domain/ids.ts';
import { startBackup } from '../services/backup.ts';
import { pointsPartition } from '../services/keys.ts';
import { openFindings } from '../services/findings.ts';
import { policyOf } from '../services/policies.ts';
import { fullPointOf, isVisible, pointsNewestFirst } from '../services/point-list.ts';
import { readPoint } from '../services/projection.ts';
import { startRestore } from '../services/restore.ts';
import { resourceNotFound } from './errors.ts';
import { type ArmAnswer, ok } from './http.ts';
import { protectedItemPath, VAULT_TYPE } from './ids.ts';
import { type FoundItem, type ItemCall, namesOf, theItem } from './items.ts';
import { accepted } from './operations.ts';
import { pageOf, type Sorted } from './paging.ts';
import { pointView, type PointContext } from './point-view.ts';
import { restoreProblems, restoreRequest } from './restore-request.ts';
import type { Call } from './route.ts';
import type { BackupBody, PointsQuery, RestoreBody } from './schemas/point.ts';
import { listLink } from './vaults.ts';

type PointCall<Body = unknown> = Call<
  'subscription' | 'group' | 'vault' | 'container' | 'item' | 'point',
  unknown,
  Body
>;

/** What is no id would not be a key either. */
const POINT_ID = /^\d{17}$/;

/** What the points of an item are shown with. */
async function contextOf(call: ItemCall, { vault, row }: FoundItem): Promise<(point: PointRow) => PointContext> {
  const partition = partitionOf({ vault, row });
  const [findings, policy, full] = await Promise.all([
    openFindings(call.ports, partition),
    policyOf(call.ports, vault.key, row),
    fullPointOf(call.ports, partition),
  ]);
  return ({ point }) => ({
    vault: vault.address,
    names: namesOf(row),
    policy,
    kind: point === full ? 'full' : 'incremental',
    findings: findings
      .filter((found) => found.row.points.includes(point))
      .map(({ row: { kind, code, message } }) => ({ kind, code, message })),
  });
}

const partitionOf = ({ vault, row }: Pick<FoundItem, 'vault' | 'row'>): string =>
  pointsPartition(vault.row.containerName, row.itemId);

export async function listPoints(call: ItemCall<PointsQuery>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const { startDate: from, endDate: until } = call.query.$filter;
  const contexts = await contextOf(call, item);
  const list = async function* (before: string | undefined): AsyncGenerator<Sorted<unknown>> {
    for await (const row of pointsNewestFirst(call.ports, partitionOf(item), {
      from,
      until,
      before,
      newest: item.row.lastPoint,
    }))
      yield { sortKey: row.point, entry: pointView(row, contexts(row), 'listed') };
  };
  const path = `${protectedItemPath(namesOf(item.row))}/recoveryPoints`;
  return ok(await pageOf(list, call.query, (token) => listLink(call, item.vault, path, token)));
}

/** @throws BackupError ResourceNotFound */
async function thePoint(call: PointCall, item: FoundItem): Promise<PointRow> {
  const { point } = call.params;
  const row = POINT_ID.test(point) ? await readPoint(call.ports, partitionOf(item), point as PointId) : undefined;
  if (row !== undefined && isVisible(row)) return row;
  throw resourceNotFound(`${VAULT_TYPE}/recoveryPoints`, `${item.row.vmName}/${point}`, item.vault.row.resourceGroup);
}

export async function getPoint(call: PointCall): Promise<ArmAnswer> {
  const item = await theItem(call);
  const row = await thePoint(call, item);
  return ok(pointView(row, (await contextOf(call, item))(row), 'single'));
}

export async function backup(call: ItemCall<unknown, BackupBody>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const { properties } = call.body;
  const jobId = await startBackup(call.ports, item.vault.key, item.key, {
    kind: 'onDemand',
    retainUntil: properties.recoveryPointExpiryTimeInUTC,
  });
  return accepted(call, item.vault, protectedItemPath(namesOf(item.row)), jobId);
}

export async function restore(call: PointCall<RestoreBody>): Promise<ArmAnswer> {
  const item = await theItem(call);
  const row = await thePoint(call, item);
  const { properties } = call.body;
  const [problem] = restoreProblems(properties, item, row.point);
  if (problem !== undefined) throw problem;
  const jobId = await startRestore(call.ports, item.vault.key, item.key, row.point, restoreRequest(properties));
  return accepted(call, item.vault, protectedItemPath(namesOf(item.row)), jobId);
}
