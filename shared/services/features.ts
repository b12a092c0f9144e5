import type { FeatureRow } from '../catalog/feature-row.ts';
import { BackupError, isBackupError } from '../domain/errors.ts';
import type { Ports } from './ports.ts';

/*
 * Features that a subscription opts in to. There is one: the upgrade of the backup stack, which goes one way. That it was asked for is
 * recorded; the row stands for good, so that a registration that comes twice, or twice at once, is the same registration.
 */

/** A feature and what people are told of it. */
export interface Feature {
  readonly namespace: string;
  readonly name: string;
  readonly displayName: string;
  readonly description: string;
}

export const FEATURES: readonly Feature[] = [
  {
    namespace: 'Microsoft.RecoveryServices',
    name: 'InstantBackupandRecovery',
    displayName: 'Instant restore: the backup stack V2',
    description: 'Recovery points can be restored as soon as their snapshots are taken. There is no way back.',
  },
];

const sameText = (a: string, b: string): boolean => a.toLowerCase() === b.toLowerCase();

/** The features of a namespace, or of all. @throws BackupError InvalidResourceNamespace for one that has none */
export function featuresOf(namespace?: string): readonly Feature[] {
  if (namespace === undefined) return FEATURES;
  const found = FEATURES.filter((feature) => sameText(feature.namespace, namespace));
  if (found.length > 0) return found;
  const known = [...new Set(FEATURES.map((feature) => feature.namespace))].join(', ');
  throw new BackupError('InvalidResourceNamespace', `${namespace} has no features here: expected ${known}`, {
    target: 'namespace',
  });
}

/** @throws BackupError FeatureNotFound, InvalidResourceNamespace */
export function featureNamed(namespace: string, name: string): Feature {
  const features = featuresOf(namespace);
  const found = features.find((feature) => sameText(feature.name, name));
  if (found !== undefined) return found;
  const known = features.map((feature) => feature.name).join(', ');
  throw new BackupError('FeatureNotFound', `${namespace} has no feature ${name}: expected ${known}`, {
    target: 'feature',
  });
}

const place = (subscription: string, { namespace, name }: Feature): [partition: string, key: string] => [
  subscription.toLowerCase(),
  `${namespace}|${name}`.toLowerCase(),
];

/** The registration of a feature; undefined: nobody has registered it. */
export async function registrationOf(
  ports: Pick<Ports, 'catalog'>,
  subscription: string,
  feature: Feature,
): Promise<FeatureRow | undefined> {
  return (await ports.catalog.features.get(...place(subscription, feature)))?.row;
}

/** Registers a feature. Who comes later gets the registration that stands. */
export async function registerFeature(
  ports: Pick<Ports, 'catalog' | 'clock'>,
  subscription: string,
  feature: Feature,
  by: string,
): Promise<FeatureRow> {
  const row: FeatureRow = { registeredAt: ports.clock.now(), by };
  try {
    await ports.catalog.features.insert(...place(subscription, feature), row);
    return row;
  } catch (error) {
    if (!isBackupError(error, 'RowAlreadyExists')) throw error;
    return (await registrationOf(ports, subscription, feature)) ?? row;
  }
}

/** Nothing to do for a feature that is not registered. @throws BackupError FeatureRegistrationOneWay for one that is */
export async function unregisterFeature(
  ports: Pick<Ports, 'catalog'>,
  subscription: string,
  feature: Feature,
): Promise<void> {
  if ((await registrationOf(ports, subscription, feature)) === undefined) return;
  throw new BackupError(
    'FeatureRegistrationOneWay',
    `${feature.namespace}/${feature.name} is registered, for good: there is no way back`,
    { target: 'feature' },
  );
}
