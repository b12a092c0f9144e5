import { z } from 'zod';

/** What a recovery point says of its VM: the same in its manifest, its row, and the tags of its snapshots, since each is made of another. */
export const pointVm = z.object({
  id: z.string(),
  vmId: z.string(),
  name: z.string(),
  resourceGroup: z.string(),
  location: z.string(),
  size: z.string(),
  osType: z.string(),
});
