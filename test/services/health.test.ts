import { describe, expect, it } from 'vitest';
import { healthAnswer, healthDetails } from '../../shared/arm/health.ts';
import { healthOf, type Probe, SAME_ANSWER_MS } from '../../shared/services/health.ts';

const fine = (name: string): Probe => ({ name, check: async () => undefined });
const failing = (name: string, error: unknown): Probe => ({
  name,
  check: async () => {
    throw error;
  },
});

describe('how the app is', () => {
  it('is told with what each probe has found, and to the public without', async () => {
    const broken = Object.assign(new Error('no https://a/b?sig=c2lnbmF0dXJl\nmore'), { statusCode: 503, code: 'Busy' });
    const health = await healthOf([fine('tables'), failing('queues', broken)], { now: () => 0 })();
    expect(healthAnswer(health)).toEqual({ status: 503, body: { status: 'unavailable' } });
    expect(healthDetails(health)).toEqual({
      status: 503,
      body: {
        status: 'unavailable',
        checks: [
          { name: 'tables', ok: true, elapsedMs: 0 },
          { name: 'queues', ok: false, elapsedMs: 0, problem: '503 Busy no https://a/b?sig=***' },
        ],
      },
    });
    const well = await healthOf([fine('tables')], { now: () => 0 })();
    expect(healthAnswer(well)).toEqual({ status: 200, body: { status: 'ok' } });
  });

  it('does not wait for what never answers, nor for what does not listen', async () => {
    const silent: Probe = { name: 'silent', check: () => new Promise(() => {}) };
    const { ok, results } = await healthOf([silent], { now: () => 0, timeoutMs: 5 })();
    expect({ ok, problem: results[0]?.problem }).toEqual({ ok: false, problem: 'no answer within 5 ms' });
  });

  it('is asked once for all who ask at about the same time, and again later', async () => {
    let asked = 0;
    let now = 0;
    const counting: Probe = { name: 'a', check: async () => void asked++ };
    const ask = healthOf([counting], { now: () => now });
    await Promise.all([ask(), ask()]);
    now = SAME_ANSWER_MS - 1;
    await ask();
    expect(asked).toBe(1);
    now = SAME_ANSWER_MS;
    await ask();
    expect(asked).toBe(2);
  });
});
