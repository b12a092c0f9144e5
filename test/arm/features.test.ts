import { beforeEach, describe, expect, it } from 'vitest';
import { type Answer, askWorld, SUBSCRIPTION_PATH } from '../support/ask-world.ts';
import { type World, createWorld } from '../support/world.ts';

/* Registration of features: two names for the same thing, one way. */

const FT = `${SUBSCRIPTION_PATH}/providers/Microsoft.Features`;
const FEATURES = `${FT}/providers/Microsoft.RecoveryServices/features`;
const FEATURE = `${FEATURES}/InstantBackupandRecovery`;
const REGISTRATIONS = `${FT}/featureProviders/Microsoft.RecoveryServices/subscriptionFeatureRegistrations`;
const REGISTRATION = `${REGISTRATIONS}/InstantBackupandRecovery`;
const API = '?api-version=2021-07-01';

let world: World;
const ask = (method: string, path: string, body?: unknown): Promise<Answer> =>
  askWorld(world, method, `${path}${API}`, body);
const stateOf = async (): Promise<string> => (await ask('GET', FEATURE)).body.properties.state;
const names = ({ body }: Answer): string[] => body.value.map(({ name }: { name: string }) => name);

beforeEach(async () => {
  world = await createWorld();
});

describe('a feature that nobody has registered', () => {
  it('is listed, and shown in its own spelling however it is asked for', async () => {
    const view = {
      id: FEATURE,
      name: 'Microsoft.RecoveryServices/InstantBackupandRecovery',
      type: 'Microsoft.Features/providers/features',
      properties: { state: 'NotRegistered' },
    };
    const asked = `${FT}/PROVIDERS/microsoft.recoveryservices/Features/instantbackupandrecovery`;
    expect(await ask('GET', asked)).toMatchObject({ status: 200, body: view });
    for (const path of [`${FT}/features`, FEATURES])
      expect((await ask('GET', path)).body).toEqual({ value: [view], nextLink: null });
  });

  it('has no registration, and there is nothing to take back', async () => {
    for (const path of [`${FT}/subscriptionFeatureRegistrations`, REGISTRATIONS])
      expect((await ask('GET', path)).body.value).toEqual([]);
    expect((await ask('GET', REGISTRATION)).body.error.code).toBe('ResourceNotFound');
    expect((await ask('DELETE', REGISTRATION)).status).toBe(204);
    const { status, body } = await ask('POST', `${FEATURE}/unregister`);
    expect([status, body.properties.state]).toEqual([200, 'NotRegistered']);
  });
});

describe.each<[string, () => Promise<Answer>]>([
  ['register', () => ask('POST', `${FEATURE}/register`)],
  ['a registration that is put', () => ask('PUT', REGISTRATION, { properties: {} })],
  ['a registration that is put without a body', () => ask('PUT', REGISTRATION)],
])('%s', (_what, register) => {
  it('registers the feature, once, also of two at once', async () => {
    const first = await Promise.all([register(), register()]);
    world.clock.advance(1000);
    for (const { status, body } of [...first, await register()])
      expect([status, body.properties.state]).toEqual([200, 'Registered']);
    expect(await stateOf()).toBe('Registered');
    const { body } = await ask('GET', REGISTRATION);
    expect(body).toMatchObject({
      id: REGISTRATION,
      name: 'InstantBackupandRecovery',
      properties: {
        state: 'Registered',
        registrationDate: new Date(world.clock.now() - 1000).toISOString(),
      },
    });
    for (const path of [`${FT}/subscriptionFeatureRegistrations`, REGISTRATIONS])
      expect(names(await ask('GET', path))).toEqual(['InstantBackupandRecovery']);
  });

  it('has no way back', async () => {
    await register();
    for (const [method, path] of [
      ['POST', `${FEATURE}/unregister`],
      ['DELETE', REGISTRATION],
    ] as const) {
      const { status, body } = await ask(method, path);
      expect([status, body.error.code]).toEqual([409, 'FeatureRegistrationOneWay']);
    }
    expect(await stateOf()).toBe('Registered');
  });
});

describe('what is refused', () => {
  it.each([
    ['GET', `${FEATURES}/Teleport`, 404, 'FeatureNotFound', /expected InstantBackupandRecovery/],
    ['POST', `${FEATURES}/Teleport/register`, 404, 'FeatureNotFound', /no feature Teleport/],
    ['POST', `${FEATURES}/Teleport/unregister`, 404, 'FeatureNotFound', /no feature Teleport/],
    ['PUT', `${REGISTRATIONS}/Teleport`, 404, 'FeatureNotFound', /no feature Teleport/],
    ['DELETE', `${REGISTRATIONS}/Teleport`, 404, 'FeatureNotFound', /no feature Teleport/],
    [
      'GET',
      `${FT}/providers/Microsoft.Nothing/features`,
      404,
      'InvalidResourceNamespace',
      /Microsoft.RecoveryServices/,
    ],
    ['DELETE', FEATURE, 405, 'MethodNotAllowed', /allowed are GET/],
  ])('%s %s', async (method, path, status, code, says) => {
    const answer = await ask(method, path);
    expect([answer.status, answer.body.error.code, answer.body.error.message]).toEqual([
      status,
      code,
      expect.stringMatching(says),
    ]);
  });

  it('an operator looks, and registers nothing', async () => {
    const operator = (method: string, path: string) =>
      askWorld(world, method, `${path}${API}`, undefined, 'Backup Operator');
    expect((await operator('GET', FEATURE)).status).toBe(200);
    for (const [method, path] of [
      ['POST', `${FEATURE}/register`],
      ['PUT', REGISTRATION],
    ] as const)
      expect((await operator(method, path)).status).toBe(403);
    expect(await stateOf()).toBe('NotRegistered');
  });
});
