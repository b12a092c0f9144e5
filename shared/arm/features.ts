import type { FeatureRow } from '../catalog/feature-row.ts';
import { BackupError } from '../domain/errors.ts';
import {
  type Feature,
  featureNamed,
  FEATURES,
  featuresOf,
  registerFeature,
  registrationOf,
  unregisterFeature,
} from '../services/features.ts';
import { type ArmAnswer, noContent, ok } from './http.ts';
import type { Call } from './route.ts';
import { iso } from './times.ts';

/*
 * Microsoft.Features: the same registrations by their older name, features with a state, and by their newer one, registrations that are
 * there or not.
 */

type SubscriptionCall = Call<'subscription'>;
type NamespaceCall = Call<'subscription' | 'namespace'>;
type FeatureCall = Call<'subscription' | 'namespace' | 'feature'>;

const PROVIDER = 'Microsoft.Features';

function featureView(subscription: string, { namespace, name }: Feature, row: FeatureRow | undefined): object {
  return {
    id: `/subscriptions/${subscription}/providers/${PROVIDER}/providers/${namespace}/features/${name}`,
    name: `${namespace}/${name}`,
    type: `${PROVIDER}/providers/features`,
    properties: { state: row === undefined ? 'NotRegistered' : 'Registered' },
  };
}

function registrationView(subscription: string, feature: Feature, row: FeatureRow): object {
  const { namespace, name, displayName, description } = feature;
  return {
    id: `/subscriptions/${subscription}/providers/${PROVIDER}/featureProviders/${namespace}/subscriptionFeatureRegistrations/${name}`,
    name,
    type: `${PROVIDER}/featureProviders/subscriptionFeatureRegistrations`,
    properties: {
      subscriptionId: subscription,
      providerNamespace: namespace,
      featureName: name,
      displayName,
      description,
      state: 'Registered',
      approvalType: 'AutoApproval',
      registrationDate: iso(row.registeredAt),
      shouldFeatureDisplayInPortal: false,
    },
  };
}

const asked = ({ params }: FeatureCall): Feature => featureNamed(params.namespace, params.feature);

async function list(call: SubscriptionCall, features: readonly Feature[]): Promise<ArmAnswer> {
  const { subscription } = call.params;
  const value: object[] = [];
  for (const feature of features)
    value.push(featureView(subscription, feature, await registrationOf(call.ports, subscription, feature)));
  return ok({ value, nextLink: null });
}

export const listFeatures = (call: SubscriptionCall): Promise<ArmAnswer> => list(call, FEATURES);
export const listFeaturesOf = async (call: NamespaceCall): Promise<ArmAnswer> =>
  list(call, featuresOf(call.params.namespace));

async function show(call: FeatureCall, row: FeatureRow | undefined): Promise<ArmAnswer> {
  return ok(featureView(call.params.subscription, asked(call), row));
}

export async function getFeature(call: FeatureCall): Promise<ArmAnswer> {
  return show(call, await registrationOf(call.ports, call.params.subscription, asked(call)));
}

/** Registered as soon as it is answered: there is nothing to wait for. */
export async function register(call: FeatureCall): Promise<ArmAnswer> {
  return show(call, await registerFeature(call.ports, call.params.subscription, asked(call), call.caller.name));
}

export async function unregister(call: FeatureCall): Promise<ArmAnswer> {
  await unregisterFeature(call.ports, call.params.subscription, asked(call));
  return show(call, undefined);
}

async function listRegistered(call: SubscriptionCall, features: readonly Feature[]): Promise<ArmAnswer> {
  const { subscription } = call.params;
  const value: object[] = [];
  for (const feature of features) {
    const row = await registrationOf(call.ports, subscription, feature);
    if (row !== undefined) value.push(registrationView(subscription, feature, row));
  }
  return ok({ value, nextLink: null });
}

export const listRegistrations = (call: SubscriptionCall): Promise<ArmAnswer> => listRegistered(call, FEATURES);
export const listRegistrationsOf = async (call: NamespaceCall): Promise<ArmAnswer> =>
  listRegistered(call, featuresOf(call.params.namespace));

export async function getRegistration(call: FeatureCall): Promise<ArmAnswer> {
  const feature = asked(call);
  const row = await registrationOf(call.ports, call.params.subscription, feature);
  if (row !== undefined) return ok(registrationView(call.params.subscription, feature, row));
  throw new BackupError('ResourceNotFound', `${feature.namespace}/${feature.name} is not registered`, {
    target: 'feature',
  });
}

export async function putRegistration(call: FeatureCall): Promise<ArmAnswer> {
  const feature = asked(call);
  const row = await registerFeature(call.ports, call.params.subscription, feature, call.caller.name);
  return ok(registrationView(call.params.subscription, feature, row));
}

/** What is not registered is as good as deleted. */
export async function deleteRegistration(call: FeatureCall): Promise<ArmAnswer> {
  await unregisterFeature(call.ports, call.params.subscription, asked(call));
  return noContent;
}
