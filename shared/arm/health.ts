import type { Health } from '../services/health.ts';
import { hideSecrets } from '../domain/secrets.ts';
import type { ArmAnswer } from './http.ts';

/** What anybody is told: whether the app can work, and nothing of what it works with. */
export function healthAnswer({ ok }: Pick<Health, 'ok'>): ArmAnswer {
  return { status: ok ? 200 : 503, body: { status: ok ? 'ok' : 'unavailable' } };
}

/** What a holder of a function key is told. */
export function healthDetails({ ok, results }: Health): ArmAnswer {
  const checks = results.map(({ problem, ...own }) => ({
    ...own,
    ...(problem === undefined ? {} : { problem: hideSecrets(problem) }),
  }));
  return { status: ok ? 200 : 503, body: { status: ok ? 'ok' : 'unavailable', checks } };
}
