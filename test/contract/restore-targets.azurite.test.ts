import { pageBlobTargets } from '../../shared/disk/page-blob-targets.ts';
import type { RestoreTarget, RestoreTargets } from '../../shared/disk/restore-targets.ts';
import { startTestStorage } from '../support/azurite.ts';
import { startCrashProxy } from '../support/crash-proxy.ts';
import { pageBlobOwner } from '../support/page-blob-owner.ts';
import { restoreTargetsContract } from './restore-targets.contract.ts';
import type { RestoreTargetsSubject } from './restore-targets-crashes.contract.ts';

for (const mode of ['stock', 'completed'] as const) {
  restoreTargetsContract(`Azurite, ${mode}`, async (): Promise<RestoreTargetsSubject> => {
    const storage = await startTestStorage(mode);
    const { blobServiceUrl, credential } = storage;
    const { origin } = new URL(blobServiceUrl);
    const proxy = await startCrashProxy(origin);
    const oneTry = pageBlobTargets({ credentialFor: () => credential, retryOptions: { maxTries: 1 } });
    const proxied = (target: RestoreTarget) => ({ ...target, url: target.url.replace(origin, proxy.origin) });
    const throughProxy: RestoreTargets = {
      ...oneTry,
      create: (target, sizeBytes, jobId) => oneTry.create(proxied(target), sizeBytes, jobId),
      complete: (target) => oneTry.complete(proxied(target)),
      discard: (target, jobId) => oneTry.discard(proxied(target), jobId),
    };
    return {
      targets: pageBlobTargets({ credentialFor: () => credential }),
      owner: pageBlobOwner(blobServiceUrl, credential),
      mortal(n, when) {
        proxy.crashAt(n, when);
        return { targets: throughProxy, died: () => proxy.seen() >= n };
      },
      sleepy(n, meanwhile) {
        proxy.pauseAt(n, meanwhile);
        return { targets: throughProxy, slept: () => proxy.seen() >= n };
      },
      async close() {
        await proxy.close();
        await storage.stop();
      },
    };
  });
}
