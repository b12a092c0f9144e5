import { createRealWorld } from '../support/real-world.ts';
import { lyingDiffContract } from './lying-diff.contract.ts';

lyingDiffContract('over real adapters', async ({ wrapHandlers }) => {
  const sourceRates = { requestsPerSecond: 1e9, bytesPerSecond: 1 };
  const rates = { standard: sourceRates, premium: sourceRates, managed: sourceRates };
  const world = await createRealWorld({
    wrapHandlers: (ports) => wrapHandlers({ ...ports, settings: { ...ports.settings, sourceRates: rates } }),
  });
  return {
    life: world,
    write: async (url, offset, body) => void (await world.disk(url).uploadPages(body, offset, body.byteLength)),
    clear: async (url, offset, bytes) => void (await world.disk(url).clearPages(offset, bytes)),
    image: (url) => world.disk(url).downloadToBuffer(),
    stop: () => world.stop(),
  };
});
