import type { Mutation } from './mutation.ts';

const SERVED = 'arm/serve.test.ts';
const ETAGS = 'arm/etag.test.ts';
const SETTINGS = 'arm/vault-settings.test.ts';
const IDS = 'services/request-context.test.ts';

/** What would let a call through that the front door keeps out, or change what nobody has asked to change. */
export const API: readonly Mutation[] = [
  {
    name: 'api: a body is read whatever its length',
    file: 'shared/arm/request-body.ts',
    find: 'if (bytes > MOST_BODY_BYTES) throw tooLarge(`is longer than ${MOST_BODY_BYTES} bytes`);',
    replace: 'if (bytes > 4 * MOST_BODY_BYTES) throw tooLarge(`is longer than ${MOST_BODY_BYTES} bytes`);',
    tests: [SERVED],
    why: 'anybody with a role fills the memory of the app',
  },
  {
    name: 'api: a handler runs before its query is parsed',
    file: 'shared/arm/serve.ts',
    find: 'const asked = parseAs(route.query, query.pick(Object.keys(route.query.shape)));',
    replace: 'const asked = query.pick(Object.keys(route.query.shape));',
    tests: [SERVED],
    why: 'handlers see what no schema has passed',
  },
  {
    name: 'api: a refused call is refused before the role is asked for',
    file: 'shared/arm/serve.ts',
    find: 'requireRole(caller, route.role,',
    replace: 'if (route.refusal === undefined) requireRole(caller, route.role,',
    tests: [SERVED],
    why: 'callers without a role learn what is there',
  },
  {
    name: 'api: If-Match is not held against the row that is replaced',
    file: 'shared/services/vaults.ts',
    find: '    precondition(found?.etag);\n    const request',
    replace: '    const request',
    tests: [ETAGS],
    why: 'a change that somebody else has made is lost',
  },
  {
    name: 'api: who asks for a version of an item does not take it',
    file: 'shared/services/items.ts',
    find: 'if (found === undefined || precondition === always) return found;',
    replace: 'if (found !== null) return found;',
    tests: [ETAGS],
    why: 'of two who name the same version both pass',
  },
  {
    name: 'api: a PUT of a vault starts from the defaults',
    file: 'shared/arm/vaults.ts',
    find: 'merged(standing?.properties ?? VAULT_DEFAULTS, body.properties ?? {})',
    replace: 'merged(VAULT_DEFAULTS, body.properties ?? {})',
    tests: [ETAGS],
    why: 'a client that says nothing of soft delete switches it off',
  },
  {
    name: 'api: soft delete that is always on goes back',
    file: 'shared/domain/vault-settings.ts',
    find: 'if (softBefore?.[setting] === FOR_GOOD &&',
    replace: 'if (softBefore === undefined &&',
    tests: [SETTINGS],
    why: 'who may change a vault takes its last protection',
  },
  {
    name: 'api: redundancy changes though items are protected',
    file: 'shared/services/vault-contents.ts',
    find: '{ top: 1 })) return true;',
    replace: '{ top: 1 })) return false;',
    tests: [SETTINGS],
    why: 'a vault says that its data is where it is not',
  },
  {
    name: 'api: the upgrade of the stack is taken back',
    file: 'shared/services/features.ts',
    find: '(await registrationOf(ports, subscription, feature)) === undefined) return;',
    replace: '(await registrationOf(ports, subscription, feature)) !== null) return;',
    tests: ['arm/features.test.ts'],
    why: 'a client is told that the subscription is back where it never goes',
  },
  {
    name: 'api: a step works under its own id',
    file: 'shared/services/request-context.ts',
    find: 'ids.correlationId = job.activityId;',
    replace: 'void ids;',
    tests: [IDS],
    why: 'nobody finds the lines of the steps that a request has started',
  },
];
