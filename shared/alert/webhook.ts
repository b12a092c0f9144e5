import { BackupError } from '../domain/errors.ts';
import type { AlertReceiver } from './alert-receiver.ts';

const TIMEOUT_MS = 10_000;

/**
 * Posts alerts as JSON to `url`, which may hold a secret and is never repeated. Any 2xx is a receipt. A redirect is a refusal: who
 * answers at the address that was set decides where news of the vault goes, and nobody else.
 */
export function webhook(url: string): AlertReceiver {
  return {
    async tell(news) {
      let status: number;
      try {
        const answer = await fetch(url, {
          method: 'POST',
          headers: { 'content-type': 'application/json', 'user-agent': 'strata' },
          body: JSON.stringify(news),
          redirect: 'manual',
          signal: AbortSignal.timeout(TIMEOUT_MS),
        });
        await answer.body?.cancel();
        status = answer.status;
      } catch (cause) {
        const why =
          cause instanceof Error && cause.name === 'TimeoutError' ? `within ${TIMEOUT_MS / 1000} s` : 'at all';
        throw new BackupError('AlertNotDelivered', `the receiver of alerts does not answer ${why}`, { cause });
      }
      if (status < 200 || status > 299) {
        throw new BackupError('AlertNotDelivered', `the receiver of alerts answers ${status}: expected 200 to 299`);
      }
    },
  };
}
