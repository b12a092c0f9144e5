import { createWorld } from '../support/world.ts';
import { lyingDiffContract } from '../contract/lying-diff.contract.ts';

lyingDiffContract('in memory', async ({ wrapHandlers }) => {
  const sourceRates = { requestsPerSecond: 1e9, bytesPerSecond: 1 };
  const world = await createWorld({ wrapHandlers, sourceRates });
  return {
    life: world,
    write: (url, offset, body) => world.disks.write(url, offset, body),
    clear: (url, start, bytes) => world.disks.clear(url, { start, end: start + bytes }),
    image: (url) => world.disks.read(url, { start: 0, end: world.disks.sizeBytes(url) }),
    stop: async () => {},
  };
});
