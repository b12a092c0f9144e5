import {
  deleteRegistration,
  getFeature,
  getRegistration,
  listFeatures,
  listFeaturesOf,
  listRegistrations,
  listRegistrationsOf,
  putRegistration,
  register,
  unregister,
} from '../features.ts';
import { type Route, route } from '../route.ts';
import { emptyBody, listOf, resource } from '../schemas/common.ts';
import { registrationBody } from '../schemas/feature.ts';
import { CONTRIBUTOR, READER, S } from './paths.ts';

const FT = `${S}/providers/Microsoft.Features` as const;
const FEATURE = `${FT}/providers/{namespace}/features/{feature}` as const;
const REGISTRATIONS = `${FT}/featureProviders/{namespace}/subscriptionFeatureRegistrations` as const;
const REGISTRATION = `${REGISTRATIONS}/{feature}` as const;

/** Features that the subscription opts in to. */
export const FEATURES_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${FT}/features`,
    role: READER,
    summary: 'All features with their state',
    answers: { 200: listOf(resource) },
    handler: listFeatures,
  }),
  route({
    method: 'GET',
    template: `${FT}/providers/{namespace}/features`,
    role: READER,
    summary: 'The features of a namespace with their state',
    answers: { 200: listOf(resource) },
    handler: listFeaturesOf,
  }),
  route({
    method: 'GET',
    template: FEATURE,
    role: READER,
    summary: 'A feature with its state',
    answers: { 200: resource },
    handler: getFeature,
  }),
  route({
    method: 'POST',
    template: `${FEATURE}/register`,
    role: CONTRIBUTOR,
    summary: 'Register a feature, for good',
    body: emptyBody,
    answers: { 200: resource },
    handler: register,
  }),
  route({
    method: 'POST',
    template: `${FEATURE}/unregister`,
    role: CONTRIBUTOR,
    summary: 'Unregister a feature: there is no way back for one that is registered',
    body: emptyBody,
    answers: { 200: resource },
    handler: unregister,
  }),
  route({
    method: 'GET',
    template: `${FT}/subscriptionFeatureRegistrations`,
    role: READER,
    summary: 'All registered features',
    answers: { 200: listOf(resource) },
    handler: listRegistrations,
  }),
  route({
    method: 'GET',
    template: REGISTRATIONS,
    role: READER,
    summary: 'The registered features of a namespace',
    answers: { 200: listOf(resource) },
    handler: listRegistrationsOf,
  }),
  route({
    method: 'GET',
    template: REGISTRATION,
    role: READER,
    summary: 'The registration of a feature',
    answers: { 200: resource },
    handler: getRegistration,
  }),
  route({
    method: 'PUT',
    template: REGISTRATION,
    role: CONTRIBUTOR,
    summary: 'Register a feature, for good',
    body: registrationBody,
    answers: { 200: resource },
    handler: putRegistration,
  }),
  route({
    method: 'DELETE',
    template: REGISTRATION,
    role: CONTRIBUTOR,
    summary: 'Unregister a feature: there is no way back for one that is registered',
    answers: { 204: 'none' },
    handler: deleteRegistration,
  }),
];
