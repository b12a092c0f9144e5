import { BackupError } from '../domain/errors.ts';
import { PRODUCTION_LAYOUT } from '../domain/layout.ts';
import { DEFAULT_RATES, type DiskKind, type RatesByKind, type SourceRates } from '../domain/source-rates.ts';
import { PRODUCTION_GEOMETRY } from '../domain/units.ts';
import type { Settings } from '../services/ports.ts';
import { parseStorageAccounts, type StorageAccount } from './credentials.ts';

/** A storage account of the app: opened by a connection string (the local platform) or by the app's identity. */
export type StorageSetting = { readonly connection: string } | { readonly account: string };

/** Whose bearer tokens are accepted. */
export interface TokenSettings {
  readonly issuer: string;
  readonly audiences: readonly string[];
  /** Where the issuer publishes its keys. */
  readonly jwksUrl: string;
}

/** Everything that a deployment can set. docs/operations.md lists the settings. */
export interface Config extends Settings {
  /** Queues and tables. */
  readonly appStorage: StorageSetting;
  /** The vaults' containers. */
  readonly vaultStorage: StorageSetting;
  readonly accounts: readonly StorageAccount[];
  /** Whether reads of source disks are held to `sourceRates`, and one account's to what it is allowed by this process. */
  readonly sourcePacing: SourcePacing;
  readonly subscriptionId: string;
  readonly armEndpoint: string;
  /** The resource group of managed disks' snapshots, in the disk's subscription; undefined: the disk's own. */
  readonly snapshotGroup: string | undefined;
  readonly tokens: TokenSettings;
  /** Absolute links in answers begin with this; undefined: with what the request says of itself. */
  readonly publicUrl: string | undefined;
  /** Where alerts are posted; may hold a secret. undefined: nowhere. */
  readonly alertWebhook: string | undefined;
  /** Only the local platform has one: a file that says how far its clock is ahead. */
  readonly clockFile: string | undefined;
}

/** How this process keeps to what source disks and their accounts give. */
export interface SourcePacing {
  /** Off on the local platform: nothing is waited for until a storage refuses. */
  readonly isOn: boolean;
  /** Of one storage account, all its disks together: https://learn.microsoft.com/azure/storage/common/scalability-targets-standard-account */
  readonly accountRequestsPerSecond: number;
  readonly accountBytesPerSecond: number;
}

const MIB = 1_048_576;

type Env = Readonly<Record<string, string | undefined>>;

function required(env: Env, name: string, what: string): string {
  const value = env[name];
  if (value !== undefined && value !== '') return value;
  throw new BackupError('SettingInvalid', `setting ${name} is missing: ${what}`, { target: name });
}

function storageSetting(env: Env, connection: string, account: string): StorageSetting {
  const byConnection = env[connection];
  if (byConnection !== undefined && byConnection !== '') return { connection: byConnection };
  return { account: required(env, account, `the name of a storage account (or ${connection}, a connection string)`) };
}

function wholeNumber(env: Env, name: string, fallback: number, least: number, most: number): number {
  const text = env[name];
  if (text === undefined || text === '') return fallback;
  const value = Number(text);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new BackupError(
    'SettingInvalid',
    `setting ${name} is ${JSON.stringify(text)}: expected a whole number from ${least} to ${most}`,
    {
      target: name,
    },
  );
}

/** What source disks give in a second, by their kind. */
function sourceRates(env: Env): RatesByKind {
  const ratesOf = (kind: DiskKind): SourceRates => {
    const prefix = `STRATA_${kind.toUpperCase()}_DISK`;
    const { requestsPerSecond, bytesPerSecond } = DEFAULT_RATES[kind];
    return {
      requestsPerSecond: wholeNumber(env, `${prefix}_REQUESTS`, requestsPerSecond, 1, 1_000_000),
      bytesPerSecond: wholeNumber(env, `${prefix}_MIB`, bytesPerSecond / MIB, 1, 100_000) * MIB,
    };
  };
  return { standard: ratesOf('standard'), premium: ratesOf('premium'), managed: ratesOf('managed') };
}

function sourcePacing(env: Env): SourcePacing {
  const value = env['STRATA_SOURCE_PACING'] || 'on';
  if (value !== 'on' && value !== 'off') {
    const message = `setting STRATA_SOURCE_PACING is ${JSON.stringify(value)}: expected on or off`;
    throw new BackupError('SettingInvalid', message, { target: 'STRATA_SOURCE_PACING' });
  }
  return {
    isOn: value === 'on',
    accountRequestsPerSecond: wholeNumber(env, 'STRATA_ACCOUNT_REQUESTS', 20_000, 1, 10_000_000),
    accountBytesPerSecond: wholeNumber(env, 'STRATA_ACCOUNT_MIB', 5_960, 1, 1_000_000) * MIB,
  };
}

/** By default the app's own account. */
function drillAccount(env: Env): string | undefined {
  const own =
    /(?:^|;)AccountName=([^;]+)/i.exec(env['AzureWebJobsStorage'] ?? '')?.[1] ??
    env['AzureWebJobsStorage__accountName'];
  return env['STRATA_DRILL_ACCOUNT'] || own || undefined;
}

/** What of a process's settings is secret: the keys in connection strings and accounts, and what is a secret as a whole. */
export function secretsOf(env: Env): string[] {
  const inside = Object.values(env).flatMap((value = '') => [
    ...[...value.matchAll(/AccountKey=([^;"]+)/gi)].map(([, key = '']) => key),
    ...[...value.matchAll(/"key"\s*:\s*"([^"]+)"/g)].map(([, key = '']) => key),
  ]);
  const whole = ['AZURE_CLIENT_SECRET', 'STRATA_ALERT_WEBHOOK'].map((name) => env[name] ?? '');
  return [...new Set([...inside, ...whole])].filter((secret) => secret !== '');
}

/** The value itself is not repeated: it may hold a secret. Without TLS it goes to this machine alone. */
function alertWebhook(env: Env): string | undefined {
  const text = env['STRATA_ALERT_WEBHOOK'];
  if (text === undefined || text === '') return undefined;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isHere = url !== undefined && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isHere)) return text;
  const message = 'setting STRATA_ALERT_WEBHOOK is no URL that begins with https://';
  throw new BackupError('SettingInvalid', message, { target: 'STRATA_ALERT_WEBHOOK' });
}

/** `text` is for a person at a terminal. */
function checkLogFormat(env: Env): void {
  const value = env['STRATA_LOG_FORMAT'] || 'json';
  if (value === 'json' || value === 'text') return;
  const message = `setting STRATA_LOG_FORMAT is ${JSON.stringify(value)}: expected json or text`;
  throw new BackupError('SettingInvalid', message, { target: 'STRATA_LOG_FORMAT' });
}

/** Reads the settings of a process. @throws BackupError SettingInvalid naming setting, value and bound */
export function parseConfig(env: Env): Config {
  const tenant = env['STRATA_TENANT_ID'] ?? '';
  checkLogFormat(env);
  return {
    geometry: PRODUCTION_GEOMETRY,
    layout: PRODUCTION_LAYOUT,
    sourceRates: sourceRates(env),
    sourcePacing: sourcePacing(env),
    auditSeconds: wholeNumber(env, 'STRATA_AUDIT_SECONDS', 180, 1, 86_400),
    deleteGraceSeconds: wholeNumber(env, 'STRATA_DELETE_GRACE_SECONDS', 3600, 0, 604_800),
    onTheSpotBytes: wholeNumber(env, 'STRATA_ON_THE_SPOT_MIB', 64, 0, 1024) * 1_048_576,
    sweepGraceSeconds: wholeNumber(env, 'STRATA_SWEEP_GRACE_SECONDS', 86_400, 0, 2_592_000),
    verifyNightlyBytes: wholeNumber(env, 'STRATA_VERIFY_NIGHTLY_MIB', 1024, 0, 1_048_576) * 1_048_576,
    drillAccount: drillAccount(env),
    // As long as the service's own portal shows jobs: some six months.
    jobHistoryDays: wholeNumber(env, 'STRATA_JOB_HISTORY_DAYS', 180, 30, 36_500),
    cleanUpSeconds: wholeNumber(env, 'STRATA_CLEAN_UP_SECONDS', 21_600, 60, 86_400),
    cleanUpBytes: wholeNumber(env, 'STRATA_CLEAN_UP_GIB', 256, 0, 1_048_576) * 1_073_741_824,
    appStorage: storageSetting(env, 'AzureWebJobsStorage', 'AzureWebJobsStorage__accountName'),
    vaultStorage: storageSetting(env, 'STRATA_VAULT_STORAGE', 'STRATA_VAULT_STORAGE__accountName'),
    accounts: parseStorageAccounts(env['STRATA_STORAGE_ACCOUNTS']),
    subscriptionId: required(env, 'STRATA_SUBSCRIPTION_ID', 'the subscription whose VMs are protected'),
    armEndpoint: env['STRATA_ARM_ENDPOINT'] ?? 'https://management.azure.com',
    snapshotGroup: env['STRATA_SNAPSHOT_GROUP'] || undefined,
    tokens: {
      issuer: env['STRATA_TOKEN_ISSUER'] ?? `https://login.microsoftonline.com/${tenant}/v2.0`,
      audiences: required(env, 'STRATA_TOKEN_AUDIENCE', 'the audience that callers ask their tokens for')
        .split(',')
        .map((text) => text.trim()),
      jwksUrl: env['STRATA_TOKEN_JWKS'] ?? `https://login.microsoftonline.com/${tenant}/discovery/v2.0/keys`,
    },
    publicUrl: env['STRATA_PUBLIC_URL'],
    alertWebhook: alertWebhook(env),
    clockFile: env['STRATA_CLOCK_FILE'],
  };
}
