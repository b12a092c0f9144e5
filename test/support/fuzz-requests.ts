import * as fc from 'fast-check';
import { z } from 'zod';
import { ROLES, type Role } from '../../shared/arm/callers.ts';
import type { Route } from '../../shared/arm/route.ts';
import { GROUP, SUBSCRIPTION } from './life.ts';
import { anyJson, byJsonSchema, hostileText, type Json, mutated } from './json-arbitrary.ts';

/* Requests that a route would take, and requests that are nearly so: each part is right more often than not, so that others are reached. */

export interface FuzzRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly roles: readonly Role[];
}

const often = <T>(good: fc.Arbitrary<T>, bad: fc.Arbitrary<T>, weight = 9): fc.Arbitrary<T> =>
  fc.oneof({ weight, arbitrary: good }, { weight: 1, arbitrary: bad });

/** encodeURIComponent throws for half of a surrogate pair. */
const encoded = (text: string): string => encodeURIComponent(text.toWellFormed());

/** The same segment as different clients write it. */
const spelled = (text: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  often(
    text.map(encoded),
    fc.oneof(
      text.map((each) => encoded(each).replaceAll('%3B', ';')),
      text.map((each) => encoded(each.toUpperCase())),
      text.map((each) => each.toWellFormed().replaceAll(/[/?#\\\s]/g, '')),
      text.map((each) => Buffer.from(each).toString('hex').replaceAll(/../g, '%$&')),
      text.map((each) => encoded(encoded(each))),
      text.map((each) => `${encoded(each)}%zz`),
      text.map((each) => `${encoded(each)}%ff`),
      text.map((each) => `${encoded(each)}%2F`),
    ),
    15,
  );

function pathOf(template: string, names: Readonly<Record<string, string>>): fc.Arbitrary<string> {
  const segments = template
    .split('/')
    .filter((part) => part !== '')
    .map((part) => {
      const name = /^\{(\w+)\}$/.exec(part)?.[1];
      if (name === undefined) return often(fc.constantFrom(part, part.toLowerCase()), spelled(hostileText), 200);
      const known = fc.constant(names[name] ?? 'none');
      const other = fc.oneof(fc.constantFrom('another', `${names[name] ?? 'none'}x`), hostileText);
      return often(spelled(known), spelled(other), 30);
    });
  const slash = often(fc.constant('/'), fc.constantFrom('//', '/./', '/../'), 200);
  return fc
    .tuple(fc.tuple(...segments), fc.array(slash, { minLength: segments.length, maxLength: segments.length }))
    .chain(([parts, slashes]) => {
      const path = parts.map((part, i) => `${slashes[i]}${part}`).join('');
      return often(fc.constant(path), fc.constantFrom(`${path}/`, `/${path}`, `${path}/more`, path.slice(0, -1)), 15);
    });
}

const FILTER_VALUES = [
  'AzureIaasVM',
  'VM',
  'Backup',
  'Restore',
  'Completed',
  'InProgress',
  'vm',
  'nightly',
  'open',
  'all',
  '2026-01-01 00:00:00 AM',
  '2026-01-31 11:59:59 PM',
  '2026-01-01T00:00:00Z',
];

/** By the keys that the route's own description of `$filter` names. */
function filterBy(description: string): fc.Arbitrary<string> {
  const keys = /keys: (.*)$/.exec(description)?.[1]?.split(', ') ?? ['key'];
  const term = fc
    .tuple(
      often(fc.constantFrom(...keys), hostileText),
      often(fc.constantFrom('eq', 'EQ'), fc.constantFrom('ne', 'gt', '', '='), 20),
      often(fc.constantFrom(...FILTER_VALUES), hostileText, 3),
    )
    .map(([key, operator, value]) => `${key} ${operator} '${value.replaceAll("'", "''")}'`);
  const joined = fc
    .array(term, { maxLength: 3 })
    .chain((terms) => fc.constantFrom(' and ', ' AND ', ' or ', '  and  ').map((and) => terms.join(and)));
  return often(
    often(
      fc.constantFrom(...keys).map((key) => `${key} eq 'AzureIaasVM'`),
      joined,
      1,
    ),
    hostileText,
    6,
  );
}

const skipToken = fc.oneof(
  hostileText.map((text) => Buffer.from(text).toString('base64url')),
  hostileText,
);

function queryOf(route: Route): fc.Arbitrary<string> {
  const { properties = {} } = z.toJSONSchema(route.query, { io: 'input', unrepresentable: 'any' });
  const own = Object.entries(properties).map(([name, schema]) => {
    const { description = '' } = schema as { description?: string };
    const good =
      name === '$filter'
        ? filterBy(description)
        : name === '$top'
          ? fc.constantFrom('1', '2', '200', '1000')
          : name === '$skipToken'
            ? skipToken
            : byJsonSchema(schema as Record<string, unknown>, {}, name).map(String);
    return fc.option(
      fc.tuple(fc.constantFrom(name, name.toLowerCase(), name.toUpperCase()), often(good, hostileText)),
      { nil: undefined },
    );
  });
  const version = often(
    fc.constantFrom('2016-06-01', '2023-06-01', '2024-04-01', '2026-07-01', '2025-08-01-preview'),
    fc.oneof(fc.constantFrom('2999-01-01', '2023-02-31', 'latest', ''), hostileText),
    30,
  );
  const apiVersion = often(
    version.map((value): [string, string] | undefined => ['api-version', value]),
    fc.constant(undefined),
    30,
  );
  const stray = fc.option(fc.tuple(hostileText, hostileText), { nil: undefined, freq: 8 });
  return fc.tuple(apiVersion, stray, ...own).map((pairs) => {
    const given = pairs.filter((pair) => pair !== undefined);
    return given.map(([name, value]) => `${encoded(name).replaceAll('%24', '$')}=${encoded(value)}`).join('&');
  });
}

/** What a header can hold at all. */
const headerValue = hostileText.map((text) => text.replaceAll(/[^\t\u0020-\u007E\u0080-\u00FF]/g, ''));
const etag = fc.oneof(fc.constantFrom('*', '"0123"', 'W/"x"', '"', '"a", "b"', ',', '**'), headerValue);
const HEADERS: Readonly<Record<string, fc.Arbitrary<string>>> = {
  'if-match': etag,
  'if-none-match': etag,
  'content-type': often(
    fc.constantFrom('application/json', 'application/json; charset=utf-8', 'text/json', 'APPLICATION/merge-patch+JSON'),
    fc.oneof(fc.constantFrom('text/plain', 'application/xml', 'multipart/form-data'), headerValue),
    1,
  ),
  'content-length': fc.constantFrom('0', '10', '-1', '262145', '1e9', 'NaN', ''),
  'x-ms-correlation-request-id': fc.oneof(fc.uuid(), headerValue),
  'x-ms-client-request-id': headerValue,
  'accept-language': headerValue,
  'x-forwarded-host': fc.oneof(fc.constantFrom('api.example:8443', ' , ', 'a b'), headerValue),
  'x-forwarded-proto': fc.oneof(fc.constantFrom('http', 'https,http', 'javascript'), headerValue),
};
/** One or two: with more few requests would get further than the front door. */
const headers: fc.Arbitrary<Record<string, string>> = fc
  .array(fc.oneof(...Object.entries(HEADERS).map(([name, value]) => fc.tuple(fc.constant(name), value))), {
    minLength: 1,
    maxLength: 2,
  })
  .map((entries) => Object.fromEntries(entries));

const VM = `/subscriptions/${SUBSCRIPTION}/resourceGroups/${GROUP}/providers/Microsoft.Compute/virtualMachines/vm`;

/** What fields of bodies are in the world that they are sent to. */
function knownValues(names: Readonly<Record<string, string>>): Record<string, readonly string[]> {
  const vault = `/subscriptions/${SUBSCRIPTION}/resourceGroups/${names['group']}/providers/Microsoft.RecoveryServices/vaults/${names['vault']}`;
  const times = ['2026-01-05T01:30:00Z', '2026-01-05T02:00:00Z'];
  return {
    location: ['westeurope', 'West Europe'],
    policyId: [`${vault}/backupPolicies/nightly`, `${vault}/backupPolicies/DefaultPolicy`, ''],
    sourceResourceId: [VM, VM.toUpperCase()],
    resourceId: [VM],
    protectedItemType: ['Microsoft.Compute/virtualMachines'],
    storageAccountId: [
      `/subscriptions/${SUBSCRIPTION}/resourceGroups/app/providers/Microsoft.Storage/storageAccounts/restored`,
    ],
    targetResourceGroupId: [`/subscriptions/${SUBSCRIPTION}/resourceGroups/app`, ''],
    recoveryPointId: [names['point'] ?? ''],
    region: ['westeurope', ''],
    targetContainerName: ['restored-1'],
    diskEncryptionSetId: [''],
    recoveryPointExpiryTimeInUTC: ['2026-02-01T00:00:00Z', '2025-01-01T00:00:00Z'],
    timeZone: ['UTC', 'Europe/Berlin', 'Pacific Standard Time'],
    schedulePolicyType: ['SimpleSchedulePolicy', 'SimpleSchedulePolicyV2'],
    scheduleRunFrequency: ['Daily', 'Hourly'],
    retentionPolicyType: ['LongTermRetentionPolicy'],
    durationType: ['Days', 'Weeks'],
    scheduleRunTimes: times,
    retentionTimes: times,
    tieringMode: ['DoNotTier', 'TierAfter'],
    encryptionAtRestType: ['MicrosoftManaged', 'CustomerManaged'],
    item: [names['item'] ?? '', 'vm'],
    drill: ['latest', names['point'] ?? ''],
    container: ['strata-v1'],
  };
}

/** Bodies that are taken as they are; which route takes which, its schema says. */
function goodBodies(names: Readonly<Record<string, string>>): Json[] {
  const known = knownValues(names);
  const at = '2026-01-05T01:30:00Z';
  return [
    {
      properties: {
        backupManagementType: 'AzureIaasVM',
        schedulePolicy: {
          schedulePolicyType: 'SimpleSchedulePolicy',
          scheduleRunFrequency: 'Daily',
          scheduleRunTimes: [at],
        },
        retentionPolicy: {
          retentionPolicyType: 'LongTermRetentionPolicy',
          dailySchedule: { retentionTimes: [at], retentionDuration: { count: 14, durationType: 'Days' } },
        },
      },
    },
    {
      properties: {
        objectType: 'IaasVMRestoreRequest',
        recoveryType: 'RestoreDisks',
        recoveryPointId: names['point'] ?? '',
        storageAccountId: known['storageAccountId']![0]!,
        region: 'westeurope',
        originalStorageAccountOption: false,
      },
    },
    {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        protectionState: 'ProtectionStopped',
        sourceResourceId: VM,
      },
    },
    {
      properties: {
        protectedItemType: 'Microsoft.Compute/virtualMachines',
        sourceResourceId: VM,
        policyId: known['policyId']![0]!,
        extendedProperties: { diskExclusionProperties: { diskLunList: [0], isInclusionList: true } },
      },
    },
  ];
}

/** A body that the route takes, if any is known; else an empty one. */
export function sampleBody({ body }: Route, names: Readonly<Record<string, string>>): string | undefined {
  if (body === undefined) return undefined;
  const more: Json[] = [{ properties: { objectType: 'IaasVMBackupRequest' } }, { location: 'westeurope' }, {}];
  return JSON.stringify([...goodBodies(names), ...more].find((each) => body.safeParse(each).success) ?? {});
}

function bodyOf({ body }: Route, names: Readonly<Record<string, string>>): fc.Arbitrary<string | undefined> {
  const raw = fc.oneof(
    fc.constantFrom(
      '',
      ' ',
      '{',
      '[',
      '"',
      'nul',
      '\uFEFF{}',
      '{"a":1,"a":2}',
      '1e400',
      '['.repeat(20_000),
      `"${'a'.repeat(300_000)}"`,
    ),
    hostileText,
  );
  if (body === undefined) return fc.option(raw, { nil: undefined, freq: 2 });
  const schema = z.toJSONSchema(body, { io: 'input', unrepresentable: 'any' }) as Record<string, unknown>;
  const seeds = goodBodies(names).filter((each) => body.safeParse(each).success);
  const made = byJsonSchema(schema, knownValues(names));
  const good = seeds.length === 0 ? made : fc.oneof(made, fc.constantFrom(...seeds));
  const change = fc.record({
    kind: fc.constantFrom('remove' as const, 'replace' as const, 'add' as const),
    key: hostileText,
    by: anyJson,
  });
  const near = fc
    .tuple(good, fc.array(fc.tuple(fc.nat(), change), { minLength: 1, maxLength: 3 }))
    .map(([value, changes]) => changes.reduce((changed, [at, each]) => mutated(changed, at, each), value));
  const written = fc.oneof(
    { weight: 5, arbitrary: good },
    { weight: 5, arbitrary: near },
    { weight: 1, arbitrary: anyJson },
  );
  const cut = fc.tuple(written, fc.nat()).map(([value, at]) => JSON.stringify(value).slice(0, at % 60));
  return fc.oneof(
    { weight: 12, arbitrary: written.map((value): string | undefined => JSON.stringify(value)) },
    { weight: 1, arbitrary: raw },
    { weight: 1, arbitrary: cut },
    { weight: 1, arbitrary: fc.constant(undefined) },
  );
}

/** Requests of all routes, each as often as any other. `names`: what exists, by the names in the templates. */
export function fuzzRequests(
  routes: readonly Route[],
  names: Readonly<Record<string, string>>,
): fc.Arbitrary<FuzzRequest> {
  return fc.oneof(
    ...routes.map((route) =>
      fc
        .record({
          method: often(
            fc.constant<string>(route.method),
            fc.constantFrom('GET', 'PUT', 'POST', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS', 'PROPFIND'),
            15,
          ),
          pathname: pathOf(route.template, names),
          query: queryOf(route),
          headers: often(fc.constant<Record<string, string>>({}), headers, 2),
          body: bodyOf(route, names),
          roles: often(fc.constant<readonly Role[]>(['Backup Contributor']), fc.subarray([...ROLES]), 15),
        })
        .map(({ pathname, query, ...rest }): FuzzRequest => ({ ...rest, path: `${pathname}?${query}` })),
    ),
  );
}
