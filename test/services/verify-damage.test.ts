import { describe, expect, it } from 'vitest';
import type { FindingRow } from '../../shared/catalog/finding-row.ts';
import { DAMAGES, flip } from '../support/damage.ts';
import type { StoredBlob } from '../support/memory-vault.ts';
import { newestRecord } from '../support/vault-map.ts';
import { readLayer } from '../../shared/services/layers.ts';
import { liveDisks, livePoints } from '../../shared/services/verify-points.ts';
import { type Loss, tryEverything } from './verify-model.ts';
import { type SmallVault, CHECKPOINTS, PACKS, SLABS, findings, smallVault, verify } from './verify-stage.ts';

/*
 * Every object of a small vault is damaged in every way that storage can damage it. Verify then names that object and no other, and says
 * exactly which blocks and points cannot be restored, as trying to restore every block of every point tells. Once the object is
 * whole again, nothing is left of the finding.
 */

const ALL_DAMAGES: typeof DAMAGES = { ...DAMAGES, 'with a bit flipped at its end': flip(1) };

const byRegion = (rows: readonly FindingRow[], kind: FindingRow['kind']): Map<string, FindingRow[]> => {
  const found = new Map<string, FindingRow[]>();
  for (const row of rows.filter((each) => each.kind === kind)) {
    const key = `${row.disk}|${row.region}`;
    found.set(key, [...(found.get(key) ?? []), row]);
  }
  return found;
};

/** The findings say what was lost, and nothing else. */
function compareWithLoss(rows: readonly FindingRow[], loss: Loss): void {
  const documents = rows.filter(({ kind }) => kind === 'document');
  expect(documents.flatMap(({ points }) => points)).toEqual(loss.unknown);
  const layers = byRegion(rows, 'layer');
  expect(new Map([...layers].map(([key, [row]]) => [key, row!.points]))).toEqual(
    new Map([...loss.views].map(([key, points]) => [key, [...points]])),
  );
  const blocks = byRegion(rows, 'blocks');
  const said = new Map(
    [...blocks].map(([key, own]) => [
      key,
      {
        lost: own.flatMap(({ runs }) =>
          runs.flatMap(({ start, count }) => Array.from({ length: count }, (_, i) => start + i)),
        ),
        points: own[0]!.points,
      },
    ]),
  );
  const expected = [...loss.blocks].map(
    ([key, { lost, points }]) => [key, { lost: [...lost].sort((a, b) => a - b), points: [...points] }] as const,
  );
  expect(said).toEqual(new Map(expected));
}

/** The objects that verify vouches for: of the chain the newest record. */
function objectsOf({ blobs }: SmallVault): [string, StoredBlob][] {
  const newest = `${newestRecord(blobs).seq}`.padStart(12, '0');
  return [...blobs].filter(([name]) => !name.includes('/chain/') || name.endsWith(`${newest}.json`));
}

/** Whether the one byte in which `body` differs from the object lies in a frame that no live layer uses: it is nobody's any more. */
async function isDead({ world, blobs, partition }: SmallVault, object: string, body: Uint8Array): Promise<boolean> {
  const whole = blobs.get(object)!.body;
  const at = whole.findIndex((byte, i) => byte !== body[i]);
  const container = await world.ports.vaults.open(partition.split('|')[0]!);
  const chain = await world.chain('vm');
  const { manifests } = await livePoints(chain);
  let used = 0;
  for (const { disk, regions } of liveDisks(manifests).values()) {
    for (const { region, layers } of regions.values()) {
      for (const { layer } of layers) {
        const { packs, frames } = await readLayer(container, { item: chain.item, disk, region }, layer);
        for (const { pack, offset, storedBytes } of frames) {
          if (packs[pack]!.name !== object) continue;
          used++;
          if (at >= offset && at < offset + storedBytes) return false;
        }
      }
    }
  }
  return used > 0;
}

async function findAll(vault: SmallVault, object: string, harm: () => void, mend: () => void): Promise<FindingRow[]> {
  harm();
  const job = await verify(vault.world);
  const rows = await findings(vault);
  expect(job.status).toBe(rows.length === 0 ? 'Completed' : 'CompletedWithWarnings');
  for (const row of rows) expect(row.object).toBe(object);
  if (!object.includes('/chain/')) compareWithLoss(rows, await tryEverything(vault));
  mend();
  expect(await verify(vault.world)).toMatchObject({ status: 'Completed', errors: [] });
  expect(await findings(vault)).toEqual([]);
  return rows;
}

for (const [shape, writes] of Object.entries({ slabs: SLABS, 'layers and packs': PACKS, checkpoints: CHECKPOINTS })) {
  describe(`a vault of ${shape}`, () => {
    for (const [name, damage] of Object.entries(ALL_DAMAGES)) {
      it(`each object ${name} is found, with what is lost`, async () => {
        const vault = await smallVault({}, writes);
        const unseen: string[] = [];
        for (const [object, blob] of objectsOf(vault)) {
          const body = damage(blob.body);
          const rows = await findAll(
            vault,
            object,
            () => (body === undefined ? vault.blobs.delete(object) : vault.blobs.set(object, { ...blob, body })),
            () => vault.blobs.set(object, blob),
          );
          if (rows.length === 0 && !(await isDead(vault, object, body!))) unseen.push(object);
        }
        expect(unseen).toEqual([]);
      });
    }

    it('each object swapped with a sibling of its kind, older ones too, is found', async () => {
      const vault = await smallVault({}, writes);
      const kind = (object: string): string => object.slice(object.lastIndexOf('.'));
      const objects = objectsOf(vault).filter(([object]) => /\.(pack|slab|layer)$|\/points\//.test(object));
      let swaps = 0;
      for (const [object, blob] of objects) {
        for (const [other, sibling] of objects) {
          if (other === object || kind(other) !== kind(object)) continue;
          const rows = await findAll(
            vault,
            object,
            () => vault.blobs.set(object, sibling),
            () => vault.blobs.set(object, blob),
          );
          expect(rows).not.toEqual([]);
          swaps++;
        }
      }
      expect(swaps).toBeGreaterThan(3);
    });
  });
}
