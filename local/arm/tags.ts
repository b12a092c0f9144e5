import * as z from 'zod';

const MOST_TAGS = 50;

/**
 * Tags of a resource, within the service's limits
 * (https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources#limitations).
 */
export const tagsSchema = z
  .record(
    z
      .string()
      .max(512, 'must have names of at most 512 characters')
      .regex(/^[^<>%&\\?/]*$/, 'must have names without <, >, %, &, \\, ? and /'),
    z.string().max(256, 'must have values of at most 256 characters'),
  )
  .refine((tags) => Object.keys(tags).length <= MOST_TAGS, `must be at most ${MOST_TAGS}`);
