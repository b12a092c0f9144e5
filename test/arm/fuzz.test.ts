import { randomInt } from 'node:crypto';
import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { ROUTES } from '../../shared/arm/routes.ts';
import { isBackupError } from '../../shared/domain/errors.ts';
import { createArmGround } from '../support/arm-ground.ts';
import { type FuzzRequest, fuzzRequests } from '../support/fuzz-requests.ts';

/*
 * Every route, with requests that are nearly right, one after another on the same vault, and what they have set going. STRATA_FUZZ asks for
 * more of them, STRATA_FUZZ_SEED for the same again.
 */

const REQUESTS = Number(process.env['STRATA_FUZZ'] ?? 3000);
const SEED = Number(process.env['STRATA_FUZZ_SEED'] ?? randomInt(2 ** 31));
/** On the average: a failing row shrinks to what makes it fail. */
const IN_A_ROW = 30;
/** Far above what any call takes: only one that would never end is found by it. */
const HANG_MS = 60_000;

/** Inside of the program that nobody outside should see. */
const LEAK = /\\n\s*at |node:internal|file:\/\/|node_modules|\.[cm]?[jt]s:\d+|\/(?:home|root|usr|var|work)\//;

const HANGS = Symbol();
async function answerOf(ask: Awaited<ReturnType<typeof createArmGround>>['ask'], request: FuzzRequest) {
  const { promise, resolve } = Promise.withResolvers<typeof HANGS>();
  const timer = setTimeout(() => resolve(HANGS), HANG_MS);
  try {
    return await Promise.race([ask(request.method, request.path, request), promise]);
  } finally {
    clearTimeout(timer);
  }
}

it(`answers whatever is asked (STRATA_FUZZ_SEED=${SEED})`, async () => {
  const { names } = await createArmGround();
  const seen = new Map<number, number>();
  const reached = new Set<string>();
  const sequence = fc.array(fuzzRequests(ROUTES, names), { minLength: 1, maxLength: 2 * IN_A_ROW, size: 'max' });
  await fc.assert(
    fc.asyncProperty(sequence, async (requests) => {
      const ground = await createArmGround();
      for (const request of requests) {
        const from = ground.logged.length;
        // Where an answer differs from its description, as a refusal that is no ARM error does, this throws.
        const answer = await answerOf(ground.ask, request);
        if (answer === HANGS) throw new Error(`no answer to ${request.method} ${request.path}`);
        const { status, text, body } = answer;
        seen.set(status, (seen.get(status) ?? 0) + 1);
        if (status < 300) reached.add(`${request.method} ${ground.templateOf(request) ?? ''}`);
        if (status >= 500) throw new Error(`${status} ${text}: ${ground.logged.slice(from).join('\n')}`);
        if (LEAK.test(text)) throw new Error(`${status} tells of the inside: ${text}`);
        if (status >= 400) expect(body.error.message.length).toBeGreaterThan(5);
        // A server would refuse to send others.
        expect(() => new Headers(answer.headers)).not.toThrow();
      }
      // What has been accepted can be done, or fails by a reason that is known.
      await ground.drain();
      const unknown = ground.failures.filter((error) => !isBackupError(error));
      if (unknown.length > 0) throw new Error('a step failed by a fault', { cause: unknown[0] });
    }),
    { seed: SEED, numRuns: Math.ceil(REQUESTS / IN_A_ROW) },
  );
  // The requests are worth something: some pass, and others fail in many ways.
  const asked = [...seen.values()].reduce((sum, count) => sum + count, 0);
  if (asked < 2000) return;
  expect([...seen.keys()]).toEqual(expect.arrayContaining([200, 202, 400, 403, 404, 405]));
  expect(reached.size).toBeGreaterThan(20);
});
