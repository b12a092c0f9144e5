import { getPoint, listPoints, restore } from '../points.ts';
import { type Route, route } from '../route.ts';
import { listOf, resource } from '../schemas/common.ts';
import { pointsQuery, restoreBody } from '../schemas/point.ts';
import { I, OPERATOR, POINT, READER } from './paths.ts';

/** Recovery points and what is restored from them. */
export const POINTS_ROUTES: readonly Route[] = [
  route({
    method: 'GET',
    template: `${I}/recoveryPoints`,
    role: READER,
    summary: 'The recovery points of an item, newest first',
    query: pointsQuery,
    answers: { 200: listOf(resource) },
    handler: listPoints,
  }),
  route({
    method: 'GET',
    template: POINT,
    role: READER,
    summary: 'A recovery point',
    answers: { 200: resource },
    handler: getPoint,
  }),
  route({
    method: 'POST',
    template: `${POINT}/restore`,
    role: OPERATOR,
    summary: 'Restore disks from a recovery point',
    body: restoreBody,
    answers: { 202: 'none' },
    handler: restore,
  }),
];
