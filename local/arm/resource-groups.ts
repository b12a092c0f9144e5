import { join } from 'node:path';
import * as z from 'zod';
import { invalidParameter } from './errors.ts';
import { openJsonFile } from './json-file.ts';

const groupSchema = z.object({ name: z.string(), location: z.string(), tags: z.record(z.string(), z.string()) });
const fileSchema = z.object({ version: z.literal(1), groups: z.record(z.string(), groupSchema) });

export type ResourceGroup = z.infer<typeof groupSchema>;

/** Names of resource groups, without case and in the case of the first use. */
export interface ResourceGroups {
  find(name: string): ResourceGroup | undefined;
  list(): ResourceGroup[];
  /** The group of this name, made if it is not there. @throws ArmError for a name that Azure would refuse. */
  ensure(name: string): ResourceGroup;
  /** Creates the group, or replaces the tags of an existing one. */
  put(name: string, location: string, tags: Record<string, string>): { created: boolean; group: ResourceGroup };
}

/** The group in which the platform's own resources, its storage accounts, are found. */
export const PLATFORM_GROUP = 'strata-local';

/** Letters, digits, `-`, `_`, `.`, `(` and `)`; 1 to 90 of them; no period at the end. */
const GROUP_NAME = /^[\p{L}\p{N}_().-]{0,89}[\p{L}\p{N}_()-]$/u;

export function openResourceGroups(dataDir: string, location: string): ResourceGroups {
  const file = openJsonFile(join(dataDir, 'resource-groups.json'), fileSchema, () => ({
    version: 1 as const,
    groups: { [PLATFORM_GROUP]: { name: PLATFORM_GROUP, location, tags: {} } },
  }));
  const find = (name: string) => file.value.groups[name.toLowerCase()];
  const put = (name: string, where: string, tags: Record<string, string>) => {
    if (!GROUP_NAME.test(name)) {
      throw invalidParameter(
        `The resource group name '${name}' is invalid: 1 to 90 letters, digits, '-', '_', '.', '(' or ')', not ending with '.'.`,
      );
    }
    const existing = find(name);
    const group = { name: existing?.name ?? name, location: existing?.location ?? where, tags };
    file.update((draft) => {
      draft.groups[name.toLowerCase()] = group;
    });
    return { created: existing === undefined, group };
  };
  return {
    find,
    list: () => Object.values(file.value.groups),
    ensure: (name) => find(name) ?? put(name, location, {}).group,
    put,
  };
}
