import type { JobRow } from '../catalog/catalog.ts';
import { planName } from '../format/names.ts';
import { deleteOrOwe } from './owed-delete.ts';
import type { Ports } from './ports.ts';
import { openVault } from './vault-of.ts';

/** Takes away what a verify job leaves once it is ending: the marks of its units and its plans. Findings and checks stay. */
export async function discardVerify(ports: Ports, vault: string, job: JobRow): Promise<void> {
  if (job.attempts.length === 0) return;
  const { container } = await openVault(ports, vault);
  for (const attempt of job.attempts) {
    for await (const { partition, key } of ports.catalog.units.list(attempt))
      await ports.catalog.units.remove(partition, key);
    await deleteOrOwe(ports, container, planName(job.itemId, attempt));
  }
}
