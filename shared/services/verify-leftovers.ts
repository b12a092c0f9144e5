import type { JobRow } from '../catalog/catalog.ts';
import { planName, planPrefix } from '../format/names.ts';
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
    const first = planName(job.itemId, attempt);
    for await (const { name } of container.list(planPrefix(job.itemId, attempt)))
      if (name !== first) await deleteOrOwe(ports, container, name);
    await deleteOrOwe(ports, container, first); // last, as long as it is there what it lists can be looked for
  }
}
