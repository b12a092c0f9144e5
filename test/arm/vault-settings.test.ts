import * as fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { checkSettings } from '../../shared/domain/vault-settings.ts';
import { type Answer, askWorld, GROUP_PATH, VAULT_PATH } from '../support/ask-world.ts';
import { type World, createWorld } from '../support/world.ts';

/* The settings of a vault, and that all views of them show the same. */

const FRESH = `${GROUP_PATH}/providers/Microsoft.RecoveryServices/vaults/fresh`;
const SOFT = '/backupconfig/vaultconfig';
const STORAGE = '/backupstorageconfig/vaultstorageconfig';

let world: World;
const ask = (method: string, path: string, body?: unknown): Promise<Answer> => askWorld(world, method, path, body);
const put = (properties: object = {}) => ask('PUT', FRESH, { location: 'westeurope', properties });

beforeEach(async () => {
  world = await createWorld();
  expect((await put()).status).toBe(201);
});

describe('soft delete', () => {
  it('is on for fourteen days in a new vault', async () => {
    expect((await ask('GET', FRESH + SOFT)).body.properties).toMatchObject({
      softDeleteFeatureState: 'Enabled',
      softDeleteRetentionPeriodInDays: 14,
      enhancedSecurityState: 'Enabled',
      isSoftDeleteFeatureStateEditable: true,
    });
  });

  it('can be set as az does it, and what the body leaves out stays', async () => {
    const az = { properties: { softDeleteFeatureState: 'Disabled', enhancedSecurityState: 'Disabled' } };
    const { status, body, headers } = await ask('PATCH', FRESH + SOFT, az);
    expect([status, body.eTag]).toEqual([200, headers['etag']]);
    expect(body.properties).toMatchObject({ ...az.properties, softDeleteRetentionPeriodInDays: 14 });
    const put = await ask('PUT', FRESH + SOFT, { properties: { softDeleteRetentionPeriodInDays: 30 } });
    expect(put.body.properties).toMatchObject({ ...az.properties, softDeleteRetentionPeriodInDays: 30 });
    const { body: vault } = await ask('GET', FRESH);
    expect(vault.properties.securitySettings.softDeleteSettings).toEqual({
      softDeleteState: 'Disabled',
      softDeleteRetentionPeriodInDays: 30,
      enhancedSecurityState: 'Disabled',
    });
  });

  it.each([
    [
      { softDeleteFeatureState: 'Perhaps' },
      /softDeleteFeatureState: is "Perhaps": expected Enabled, Disabled, AlwaysON/,
    ],
    [{ softDeleteRetentionPeriodInDays: 13 }, /softDeleteRetentionPeriodInDays: .*>=14/],
    [{ softDeleteRetentionPeriodInDays: 181 }, /softDeleteRetentionPeriodInDays: .*<=180/],
  ])('refuses %j', async (properties, says) => {
    const { status, body } = await ask('PATCH', FRESH + SOFT, { properties });
    expect([status, body.error.code, body.error.message]).toEqual([400, 'InvalidRequest', expect.stringMatching(says)]);
  });

  it.each<[string, () => Promise<Answer>]>([
    ['its own view', () => ask('PATCH', FRESH + SOFT, { properties: { softDeleteFeatureState: 'Enabled' } })],
    ['the vault', () => put({ securitySettings: { softDeleteSettings: { softDeleteState: 'Disabled' } } })],
  ])('that is always on cannot be taken back by %s', async (_what, takeBack) => {
    await ask('PATCH', FRESH + SOFT, { properties: { softDeleteFeatureState: 'AlwaysON' } });
    const { status, body } = await takeBack();
    expect([status, body.error.code]).toEqual([409, 'BMSUserErrorSoftDeleteStateAlwaysOn']);
    const { body: after } = await ask('GET', FRESH + SOFT);
    expect(after.properties).toMatchObject({
      softDeleteFeatureState: 'AlwaysON',
      isSoftDeleteFeatureStateEditable: false,
    });
    expect((await put({ securitySettings: {} })).status).toBe(200);
  });
});

describe('redundancy', () => {
  it('is set by PUT with an answer, by PATCH with none', async () => {
    const az = { properties: { storageModelType: 'GeoRedundant', crossRegionRestoreFlag: false } };
    expect(await ask('PUT', FRESH + STORAGE, az)).toMatchObject({
      status: 200,
      body: {
        properties: {
          storageType: 'GeoRedundant',
          storageTypeState: 'Unlocked',
          crossRegionRestoreFlag: false,
        },
      },
    });
    const patched = await ask('PATCH', FRESH + STORAGE, { properties: { storageModelType: 'ZoneRedundant' } });
    expect([patched.status, patched.body]).toEqual([204, undefined]);
    expect((await ask('GET', FRESH + SOFT)).body.properties.storageType).toBe('ZoneRedundant');
  });

  it.each([
    [
      { storageModelType: 'Tape' },
      /storageModelType: is "Tape": expected LocallyRedundant, GeoRedundant, ZoneRedundant/,
    ],
    [{ crossRegionRestoreFlag: true }, /crossRegionRestoreFlag: is true, .*expected false/],
    [{ dedupState: 'Enabled' }, /dedupState: is "Enabled": this version does not deduplicate/],
  ])('refuses %j', async (properties, says) => {
    const { status, body } = await ask('PUT', FRESH + STORAGE, { properties });
    expect([status, body.error.message]).toEqual([400, expect.stringMatching(says)]);
  });

  it('stays from the first item on, whichever view asks, and even after the rows of the items are gone', async () => {
    const geo = { properties: { storageModelType: 'GeoRedundant' } };
    expect((await ask('PUT', VAULT_PATH + STORAGE, geo)).status).toBe(200);
    await world.createVm('vm', [65_536]);
    await world.protect('vm');
    const local = { standardTierStorageRedundancy: 'LocallyRedundant' };
    const tries = [
      ['PUT', STORAGE, { properties: { storageModelType: 'LocallyRedundant' } }],
      ['PATCH', STORAGE, { properties: { storageModelType: 'LocallyRedundant' } }],
      ['PATCH', '', { properties: { redundancySettings: local } }],
      ['PUT', '', { location: 'westeurope', properties: { redundancySettings: local } }],
    ] as const;
    const allRefused = async () => {
      for (const [method, path, body] of tries) {
        const { status, body: answer } = await ask(method, VAULT_PATH + path, body);
        expect([method, path, status, answer.error.code]).toEqual([method, path, 409, 'StorageRedundancyLocked']);
        expect(answer.error.message).toContain('is GeoRedundant');
      }
      expect((await ask('PUT', VAULT_PATH + STORAGE, geo)).body.properties).toMatchObject({
        storageType: 'GeoRedundant',
        storageTypeState: 'Locked',
      });
    };
    await allRefused();
    for await (const { partition, key } of world.ports.catalog.items.listAll())
      await world.ports.catalog.items.remove(partition, key);
    await allRefused();
  });
});

describe('what a new vault is asked for', () => {
  it.each([
    ['immutability', { securitySettings: { immutabilitySettings: { state: 'Unlocked' } } }],
    ['no public access', { publicNetworkAccess: 'Disabled' }],
  ])('%s is recorded', async (_what, properties) => {
    const path = FRESH.replace('fresh', 'other');
    expect((await ask('PUT', path, { location: 'westeurope', properties })).status).toBe(201);
    expect((await ask('GET', path)).body.properties).toMatchObject(properties);
  });

  it('a lock cannot be taken off', async () => {
    const state = (to: string) => ({ securitySettings: { immutabilitySettings: { state: to } } });
    await put(state('Unlocked'));
    expect((await put(state('Disabled'))).status).toBe(200);
    await put(state('Locked'));
    for (const to of ['Unlocked', 'Disabled']) {
      const { status, body } = await put(state(to));
      expect([status, body.error.code]).toEqual([409, 'VaultImmutabilityLocked']);
    }
    expect((await put()).body.properties).toMatchObject(state('Locked'));
  });

  it.each(['none', 'None', null])('an identity of type %s is none; others are refused in any case', async (type) => {
    const body = { location: 'westeurope', properties: {}, identity: { type } };
    expect((await ask('PUT', FRESH, body)).status).toBe(200);
    for (const other of ['systemassigned', 'SystemAssigned,UserAssigned']) {
      const refused = await ask('PATCH', FRESH, { identity: { type: other } });
      expect(refused.body.error.message).toMatch(/identity.type is System.*expected None/);
    }
  });

  it('an operator sets redundancy, but not soft delete', async () => {
    const operator = (path: string, properties: object) =>
      askWorld(world, 'PATCH', FRESH + path, { properties }, 'Backup Operator');
    expect((await operator(STORAGE, { storageModelType: 'GeoRedundant' })).status).toBe(204);
    expect((await operator(SOFT, { softDeleteFeatureState: 'Disabled' })).status).toBe(403);
  });

  it('a vault that is not there has no settings', async () => {
    for (const path of [SOFT, STORAGE])
      expect((await ask('PATCH', `${FRESH}x${path}`, { properties: {} })).status).toBe(404);
  });
});

describe('all views', () => {
  const states = fc.constantFrom('Enabled', 'Disabled');
  const days = fc.integer({ min: 14, max: 180 });
  const models = fc.constantFrom('LocallyRedundant', 'GeoRedundant', 'ZoneRedundant');
  const change = fc.oneof(
    fc.record({ view: fc.constant('soft'), state: fc.option(states), days: fc.option(days) }),
    fc.record({ view: fc.constant('storage'), model: models }),
    fc.record({
      view: fc.constant('vault'),
      state: fc.option(states),
      days: fc.option(days),
      model: fc.option(models),
    }),
    fc.record({ view: fc.constant('nothing') }),
  );

  it('are in step after any changes through any of them', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 8 }), async (changes) => {
        const model: { state: unknown; days: unknown; model: unknown } = {
          state: 'Enabled',
          days: 14,
          model: 'LocallyRedundant',
        };
        await ask('DELETE', FRESH);
        await put();
        for (const each of changes) {
          const { view, ...set } = { state: null, days: null, model: null, ...each };
          const written = Object.entries(set).filter(([, value]) => value !== null);
          Object.assign(model, Object.fromEntries(written));
          if (view === 'nothing') await put({ securitySettings: null, redundancySettings: {} });
          if (view === 'storage') await ask('PATCH', FRESH + STORAGE, { properties: { storageModelType: set.model } });
          if (view === 'soft')
            await ask('PATCH', FRESH + SOFT, {
              properties: { softDeleteFeatureState: set.state, softDeleteRetentionPeriodInDays: set.days },
            });
          if (view === 'vault')
            await put({
              securitySettings: {
                softDeleteSettings: { softDeleteState: set.state, softDeleteRetentionPeriodInDays: set.days },
              },
              redundancySettings: { standardTierStorageRedundancy: set.model },
            });
        }
        const [soft, storage, vault] = await Promise.all(
          [SOFT, STORAGE, ''].map(async (path) => (await ask('GET', FRESH + path)).body.properties),
        );
        const { softDeleteSettings } = vault.securitySettings;
        expect([
          [soft.softDeleteFeatureState, soft.softDeleteRetentionPeriodInDays, soft.storageType],
          [softDeleteSettings.softDeleteState, softDeleteSettings.softDeleteRetentionPeriodInDays, storage.storageType],
          [model.state, model.days, vault.redundancySettings.standardTierStorageRedundancy],
        ]).toEqual(Array.from({ length: 3 }, () => [model.state, model.days, model.model]));
      }),
      { numRuns: 60 },
    );
  });
});

describe('what settings never do', () => {
  it('a vault that a rebuild has put back without settings may be given them', () => {
    const given = { redundancySettings: { standardTierStorageRedundancy: 'GeoRedundant' } };
    expect(() => checkSettings({}, given, true)).not.toThrow();
    expect(() => checkSettings(given, {}, true)).toThrow(/before the first item/);
    expect(() => checkSettings(given, {}, false)).not.toThrow();
  });
});
