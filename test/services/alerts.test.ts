import { describe, expect, it } from 'vitest';
import type { AlertNews } from '../../shared/alert/alert-receiver.ts';
import { BackupError } from '../../shared/domain/errors.ts';
import { parseConfig } from '../../shared/app/config.ts';
import { tellAlerts } from '../../shared/services/alerts.ts';
import { changeItem } from '../../shared/services/items.ts';
import { itemKey } from '../../shared/services/keys.ts';
import type { Ports } from '../../shared/services/ports.ts';
import { stopProtection } from '../../shared/services/protection.ts';
import { giveUp } from '../../shared/services/run-step.ts';
import { DAY_MS, VAULT, createWorld } from '../support/world.ts';

const HOUR_MS = 3_600_000;
const KEY = itemKey('app', 'vm');

/** A VM with one backup of now, and a receiver that can be told to refuse. */
async function scene() {
  const heard: AlertNews[] = [];
  const receiver = { refuses: false, tries: 0 };
  const world = await createWorld({
    wrap: (ports): Ports => ({
      ...ports,
      alerts: {
        async tell(news) {
          receiver.tries++;
          if (receiver.refuses) throw new BackupError('AlertNotDelivered', 'refused');
          heard.push(news);
        },
      },
    }),
  });
  await world.setPolicy({ minuteOfDay: 13 * 60 });
  await world.createVm('vm', [65_536]);
  await world.protect('vm');
  await world.backup('vm');
  const tick = () => tellAlerts(world.ports);
  /** What was heard since this was last asked. */
  const news = () => heard.splice(0).map(({ event, kind }) => `${event} ${kind}`);
  const setStatus = (lastBackupStatus: string) =>
    changeItem(world.ports, VAULT, KEY, (item) => ({ ...item, lastBackupStatus }));
  return { world, heard, news, receiver, tick, setStatus };
}

describe('alerts', () => {
  it('there are none while all is well, nor rows of any', async () => {
    const { world, news, tick } = await scene();
    expect(await tick()).toBe(0);
    expect(news()).toEqual([]);
    expect(await Array.fromAsync(world.ports.catalog.alerts.listAll())).toEqual([]);
  });

  it('of a failed backup come once, and once when one has succeeded', async () => {
    const { world, heard, tick, setStatus } = await scene();
    await setStatus('Failed');
    await tick();
    await tick();
    expect(heard).toEqual([
      expect.objectContaining({ event: 'raised', kind: 'backupFailed', vault: VAULT, subject: KEY }),
    ]);
    await setStatus('Completed');
    world.clock.advance(HOUR_MS);
    await tick();
    await tick();
    expect(heard).toHaveLength(2);
    expect(heard[1]).toMatchObject({ id: heard[0]!.id, event: 'resolved', raisedAt: heard[0]!.raisedAt });
    expect(Date.parse(heard[1]!.resolvedAt!) - Date.parse(heard[1]!.raisedAt)).toBeGreaterThanOrEqual(HOUR_MS);
    await setStatus('Failed');
    await tick();
    expect(heard[2]).toMatchObject({ event: 'raised' });
    expect(heard[2]!.id).not.toBe(heard[0]!.id);
  });

  it('of a late backup come two hours after it was due, of a missing point after 26', async () => {
    const { world, news, tick } = await scene();
    // Due at 13:00; it is some moments after 12:00.
    world.clock.advance(2.5 * HOUR_MS);
    await tick();
    expect(news()).toEqual([]);
    world.clock.advance(HOUR_MS);
    await tick();
    expect(news()).toEqual(['raised backupLate']);
    world.clock.advance(22 * HOUR_MS);
    await tick();
    expect(news()).toEqual([]);
    world.clock.advance(HOUR_MS);
    await tick();
    expect(news()).toEqual(['raised noRecentPoint']);
    await world.backup('vm');
    await tick();
    expect(news()).toEqual(['resolved noRecentPoint']);
  });

  it('of a stopped item are over, whatever it lacks', async () => {
    const { world, news, tick } = await scene();
    world.clock.advance(2 * DAY_MS);
    await tick();
    expect(news().toSorted()).toEqual(['raised backupLate', 'raised noRecentPoint']);
    await stopProtection(world.ports, VAULT, KEY);
    await tick();
    expect(news().toSorted()).toEqual(['resolved backupLate', 'resolved noRecentPoint']);
  });

  it('of damage come once, however much is found', async () => {
    const { world, news, tick } = await scene();
    const [item] = await Array.fromAsync(world.ports.catalog.items.list(VAULT));
    const [vault] = await Array.fromAsync(world.ports.catalog.vaults.listAll());
    const partition = `${vault!.row.containerName}|${item!.row.itemId}`;
    const found = { kind: 'layer', object: 'a', code: 'LayerCorrupt', message: 'b', runs: [], points: [] } as const;
    const rest = { blocksLeftOut: 0, end: 0, pointsLeftOut: 0, newestIsSound: false, foundAt: 0, seenAt: 0 };
    for (const key of ['d|0|1', 'd|0|2'])
      await world.ports.catalog.findings.insert(partition, key, { ...found, runs: [], points: [], ...rest });
    await tick();
    await tick();
    expect(news()).toEqual(['raised damageFound']);
    for (const key of ['d|0|1', 'd|0|2']) await world.ports.catalog.findings.remove(partition, key);
    await tick();
    expect(news()).toEqual(['resolved damageFound']);
  });

  it('of a message that was given up last a day after the last one', async () => {
    const { world, news, tick } = await scene();
    const step = { step: 'sweep-item', v: 1, vault: VAULT, itemId: KEY } as const;
    await giveUp(world.ports, step);
    await tick();
    world.clock.advance(20 * HOUR_MS);
    await giveUp(world.ports, step);
    world.clock.advance(5 * HOUR_MS);
    await tick();
    expect(news().filter((each) => each.includes('stepGivenUp'))).toEqual(['raised stepGivenUp']);
    world.clock.advance(20 * HOUR_MS);
    await tick();
    expect(news()).toContain('resolved stepGivenUp');
  });

  it('wait for a receiver that refuses, ever longer, and lose nothing', async () => {
    const { world, news, receiver, tick, setStatus } = await scene();
    receiver.refuses = true;
    await setStatus('Failed');
    for (let minute = 0; minute < 60; minute++) {
      await tick();
      world.clock.advance(60_000);
    }
    expect(receiver.tries).toBe(6); // after 0, 1, 3, 7, 15 and 31 minutes
    await setStatus('Completed');
    await tick();
    world.clock.advance(HOUR_MS);
    receiver.refuses = false;
    await tick();
    expect(news().filter((each) => each.includes('backupFailed'))).toEqual([
      'raised backupFailed',
      'resolved backupFailed',
    ]);
  });

  it('are told by one of two ticks at once', async () => {
    const { news, tick, setStatus } = await scene();
    await setStatus('Failed');
    await Promise.all([tick(), tick(), tick()]);
    await tick();
    expect(news()).toEqual(['raised backupFailed']);
  });

  it('are told by another when a worker has died before it told them', async () => {
    const { world, news, tick, setStatus } = await scene();
    await setStatus('Failed');
    const dying = { ...world.ports, alerts: { tell: () => Promise.reject(new TypeError('killed')) } };
    await expect(tellAlerts(dying)).rejects.toThrow('killed');
    await tick();
    expect(news()).toEqual([]);
    world.clock.advance(5 * 60_000);
    await tick();
    expect(news()).toEqual(['raised backupFailed']);
  });
});

it('the webhook is an address with TLS, or on this machine; the setting is not repeated', () => {
  const rest = {
    AzureWebJobsStorage__accountName: 'a',
    STRATA_VAULT_STORAGE__accountName: 'a',
    STRATA_SUBSCRIPTION_ID: 's',
    STRATA_TOKEN_AUDIENCE: 't',
  };
  const of = (text: string) => parseConfig({ ...rest, STRATA_ALERT_WEBHOOK: text }).alertWebhook;
  expect(['', 'https://hook/secret', 'http://127.0.0.1:1/x'].map(of)).toEqual([
    undefined,
    'https://hook/secret',
    'http://127.0.0.1:1/x',
  ]);
  for (const text of ['http://hook/secret', 'secret', 'ftp://secret'])
    expect(() => of(text)).toThrow(/^setting STRATA_ALERT_WEBHOOK is no URL that begins with https:\/\/$/);
});
