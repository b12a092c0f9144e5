import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import {
  type ArmPlatform,
  GROUP,
  LOCATION,
  all,
  at,
  containerOf,
  dailyPolicy,
  ended,
  itemOf,
  jobOf,
} from './arm-platform.ts';
import { type DiskImage, imageOf } from './disk-image.ts';

const PROGRAM = fileURLToPath(new URL('../../cli/strata.ts', import.meta.url));

/** One VM in a vault of its own, worked with by the official SDK and by the program `strata`, as a person would. */
export class CliVault {
  readonly #platform: ArmPlatform;
  readonly #vault: string;
  readonly #vm: string;
  /** Names the vault to the program. */
  readonly options: readonly string[];

  constructor(platform: ArmPlatform, vault: string, vm: string) {
    this.#platform = platform;
    this.#vault = vault;
    this.#vm = vm;
    this.options = ['--vault', vault, '--resource-group', GROUP];
  }

  async create(): Promise<void> {
    const resource = { location: LOCATION, sku: { name: 'Standard' }, properties: {} };
    await this.#platform.vaults().vaults.createOrUpdate(GROUP, this.#vault, resource);
  }

  /** `strata <args>` against the platform; resolves exit status and output. */
  async strata(...args: string[]): Promise<{ exit: number; out: string; err: string }> {
    const given = [PROGRAM, ...args.slice(0, 2), '--data', this.#platform.dataDir, ...args.slice(2)];
    return promisify(execFile)(process.execPath, given, { env: { PATH: process.env['PATH'] } }).then(
      ({ stdout, stderr }) => ({ exit: 0, out: stdout, err: stderr }),
      ({ code, stdout, stderr }: { code: number; stdout: string; stderr: string }) => ({
        exit: code,
        out: stdout,
        err: stderr,
      }),
    );
  }

  points() {
    return all(this.#platform.backup().recoveryPoints.list(...at(this.#vault, this.#vm)));
  }

  /** Gives the VM a nightly policy. */
  async protect(vmId: string, days = 30): Promise<void> {
    const client = this.#platform.backup();
    await client.protectionPolicies.createOrUpdate(this.#vault, GROUP, 'nightly', { properties: dailyPolicy(days) });
    const vault = `/subscriptions/${this.#platform.endpoints.subscriptionId}/resourceGroups/${GROUP}/providers/Microsoft.RecoveryServices/vaults/${this.#vault}`;
    const properties = {
      protectedItemType: 'Microsoft.Compute/virtualMachines' as const,
      sourceResourceId: vmId,
      policyId: `${vault}/backupPolicies/nightly`,
    };
    const place = [this.#vault, GROUP, 'Azure', containerOf(this.#vm), itemOf(this.#vm)] as const;
    await jobOf(client, this.#vault, (options) =>
      client.protectedItems.createOrUpdate(...place, { properties }, options),
    );
  }

  /** Backs up on demand; resolves the new point. */
  async backUp(): Promise<string> {
    const client = this.#platform.backup();
    const known = new Set((await this.points()).map(({ name }) => name));
    const job = await jobOf(client, this.#vault, (options) =>
      client.backups.trigger(
        ...at(this.#vault, this.#vm),
        { properties: { objectType: 'IaasVMBackupRequest' } },
        options,
      ),
    );
    const { properties } = await ended(client, this.#vault, job);
    expect(properties.errorDetails ?? []).toEqual([]);
    return (await this.points()).map(({ name }) => name!).find((name) => !known.has(name))!;
  }

  /** Restores a point; resolves how its job ended, and the container that it made. */
  async restore(point: string): Promise<{ errors: string[]; container: string }> {
    const client = this.#platform.backup();
    const account = `/subscriptions/${this.#platform.endpoints.subscriptionId}/resourceGroups/strata-local/providers/Microsoft.Storage/storageAccounts/stratadisks2`;
    const properties = {
      objectType: 'IaasVMRestoreRequest' as const,
      recoveryPointId: point,
      recoveryType: 'RestoreDisks',
      storageAccountId: account,
      region: LOCATION,
    };
    const job = await jobOf(client, this.#vault, (options) =>
      client.restores.beginTrigger(...at(this.#vault, this.#vm), point, { properties }, options),
    );
    const { properties: end } = await ended(client, this.#vault, job);
    return {
      errors: (end.errorDetails ?? []).map(({ errorString }) => errorString ?? ''),
      container: end.extendedInfo!.propertyBag!['Config Blob Container Name']!,
    };
  }

  /** The disks that a point restores to, by the names of their blobs. */
  async restored(point: string, blobs: readonly string[]): Promise<DiskImage[]> {
    const { errors, container } = await this.restore(point);
    expect(errors).toEqual([]);
    const made = this.#platform.blobs('stratadisks2').getContainerClient(container);
    return Promise.all(blobs.map((blob) => imageOf(made.getPageBlobClient(blob))));
  }
}
