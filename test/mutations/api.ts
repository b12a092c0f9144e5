import type { Mutation } from './mutation.ts';

const SERVED = 'arm/serve.test.ts';
const FUZZ = 'arm/fuzz.test.ts';
const SPELLINGS = 'arm/spelling.property.test.ts';
const DESCRIBED = 'arm/openapi.test.ts';
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
  {
    name: 'api: a filter that cannot be read is a fault',
    file: 'shared/arm/filter.ts',
    find: 'refuse(error.message);',
    replace: 'throw new TypeError(error.message);',
    tests: [FUZZ],
    why: 'whoever mistypes a filter gets a 500, and the log their mistakes',
  },
  {
    name: 'api: a fault tells its stack',
    file: 'shared/arm/errors.ts',
    find: 'const message = `an unexpected error; the log has it under ${reference}`;',
    replace: 'const message = String((error as Error).stack);',
    tests: [SERVED],
    why: 'callers see the inside of the app',
  },
  {
    name: 'api: the description forgets the routes that are refused',
    file: 'shared/arm/openapi.ts',
    find: 'for (const each of routes) {',
    replace: 'for (const each of routes.filter(({ refusal }) => refusal === undefined)) {',
    tests: [DESCRIBED],
    why: 'the document and the API differ',
  },
  {
    name: 'api: an operation is described without its status',
    file: 'shared/arm/routes/strata.ts',
    find: 'answers: { 202: z.object({ value:',
    replace: 'answers: { 200: z.object({ value:',
    tests: [DESCRIBED],
    why: 'clients that are made from the document fail on the answer',
  },
  {
    name: 'api: an operation is told as it was asked for',
    file: 'shared/arm/operations.ts',
    find: 'const operation = asked.toLowerCase();',
    replace: 'const operation = asked;',
    tests: [SPELLINGS],
    why: 'clients that compare ids miss their operation',
  },
  {
    name: 'api: the literal words of paths are compared with their case',
    file: 'shared/arm/route.ts',
    find: 'else if (part.toLowerCase() !== segment.toLowerCase())',
    replace: 'else if (part !== segment)',
    tests: [SPELLINGS],
    why: 'clients that spell resourcegroups without a capital find nothing',
  },
];
