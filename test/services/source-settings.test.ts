import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../shared/app/config.ts';

const NEEDED = {
  AzureWebJobsStorage: 'UseDevelopmentStorage=true',
  STRATA_VAULT_STORAGE: 'UseDevelopmentStorage=true',
  STRATA_SUBSCRIPTION_ID: 'sub',
  STRATA_TOKEN_AUDIENCE: 'api',
};
const MIB = 1024 * 1024;

describe('what source disks are said to give', () => {
  it('is what Azure says, and is kept to', () => {
    expect(parseConfig(NEEDED)).toMatchObject({
      sourceRates: {
        standard: { requestsPerSecond: 500, bytesPerSecond: 60 * MIB },
        premium: { requestsPerSecond: 5000, bytesPerSecond: 200 * MIB },
        managed: { requestsPerSecond: 500, bytesPerSecond: 60 * MIB },
      },
      sourcePacing: { isOn: true, accountRequestsPerSecond: 20_000, accountBytesPerSecond: 5_960 * MIB },
    });
  });
  it('can be set by the kind of disk, and not kept to', () => {
    const env = {
      ...NEEDED,
      STRATA_STANDARD_DISK_REQUESTS: '300',
      STRATA_PREMIUM_DISK_MIB: '500',
      STRATA_MANAGED_DISK_REQUESTS: '2000',
      STRATA_MANAGED_DISK_MIB: '100',
      STRATA_ACCOUNT_REQUESTS: '40000',
      STRATA_SOURCE_PACING: 'off',
    };
    expect(parseConfig(env)).toMatchObject({
      sourceRates: {
        standard: { requestsPerSecond: 300, bytesPerSecond: 60 * MIB },
        premium: { requestsPerSecond: 5000, bytesPerSecond: 500 * MIB },
        managed: { requestsPerSecond: 2000, bytesPerSecond: 100 * MIB },
      },
      sourcePacing: { isOn: false, accountRequestsPerSecond: 40_000 },
    });
  });
  it.each([
    [{ STRATA_STANDARD_DISK_REQUESTS: '0' }, /STRATA_STANDARD_DISK_REQUESTS is "0": expected a whole number from 1/],
    [{ STRATA_PREMIUM_DISK_MIB: 'much' }, /STRATA_PREMIUM_DISK_MIB is "much"/],
    [{ STRATA_SOURCE_PACING: 'yes' }, /STRATA_SOURCE_PACING is "yes": expected on or off/],
  ])('%j is refused', (env, message) => {
    expect(() => parseConfig({ ...NEEDED, ...env })).toThrow(message);
  });
});
