import { z } from 'zod';
import { optional } from './common.ts';

/** Clients send a whole registration, or nothing: which feature is meant the path says. */
export const registrationBody = z
  .object({ properties: optional(z.object({ description: optional(z.string().max(4096)) })) })
  .prefault({});
