import { BackupError } from '../../shared/domain/errors.ts';
import type { Ports } from '../../shared/services/ports.ts';
import type { VaultContainer } from '../../shared/vault/vault-container.ts';

/** Ports whose vault writes by `put`, which is given the real container besides. */
export const putBy = (
  ports: Ports,
  put: (real: VaultContainer, ...write: Parameters<VaultContainer['put']>) => Promise<void>,
): Ports => ({
  ...ports,
  vaults: {
    ...ports.vaults,
    async open(name) {
      const real = await ports.vaults.open(name);
      return { ...real, put: (...write) => put(real, ...write) };
    },
  },
});

/** What makes ports of others whose vault makes every write of a name like `pattern`, and then says `code`. */
export const losingAnswers =
  (pattern: RegExp, code: 'StorageUnavailable' | 'BlobAlreadyExists' = 'BlobAlreadyExists') =>
  (ports: Ports): Ports =>
    putBy(ports, async (real, blob, body, summary) => {
      await real.put(blob, body, summary);
      if (pattern.test(blob)) throw new BackupError(code, `the answer to ${blob} was lost`);
    });
