import * as fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Route } from '../../shared/arm/route.ts';
import { ROUTES } from '../../shared/arm/routes.ts';
import { API_VERSION, type ArmGround, createArmGround, type Reply } from '../support/arm-ground.ts';
import { sampleBody } from '../support/fuzz-requests.ts';

/* A path means the same however it is spelled, and what is answered is spelled as it should be: every route, by every spelling. */

/** How one character of a segment is written. */
const spelling = fc.constantFrom<(character: string) => string>(
  (character) => encodeURIComponent(character),
  (character) => encodeURIComponent(character.toUpperCase()),
  (character) => encodeURIComponent(character.toLowerCase()),
  (character) => (/[;()!]/.test(character) ? character : encodeURIComponent(character)),
  (character) => [...Buffer.from(character)].map((byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
);
const slash = fc.constantFrom('/', '/', '/', '//', '///');

/** `path`, which is encoded, in other spellings. */
function spellings(path: string): fc.Arbitrary<string> {
  const segments = path.split('/').slice(1);
  const written = segments.map((segment) => {
    const characters = Array.from(decodeURIComponent(segment));
    return fc
      .array(spelling, { minLength: characters.length, maxLength: characters.length })
      .map((ways) => characters.map((character, i) => ways[i]!(character)).join(''));
  });
  const slashes = fc.array(slash, { minLength: segments.length, maxLength: segments.length });
  const whole = fc.constantFrom(path, path.toLowerCase(), path.toUpperCase(), `${path}/`, path.replaceAll('/', '//'));
  const mixed = fc
    .tuple(fc.tuple(...written), slashes, fc.constantFrom('', '/', '//'))
    .map(([parts, before, end]) => parts.map((part, i) => `${before[i]}${part}`).join('') + end);
  return fc.oneof(whole, mixed);
}

/** What has to be the same: all of an answer but the ids of the request and, of an error, the words that quote the path. */
function meaning({ status, headers, body }: Reply): unknown {
  const { 'x-ms-request-id': _id, 'x-ms-correlation-request-id': _correlation, ...rest } = headers;
  return { status, headers: rest, body: status < 400 ? body : body.error.code };
}

const isRead = ({ method, refusal }: Route): boolean => method === 'GET' || refusal !== undefined;
const named = (routes: readonly Route[]) => routes.map((each) => [`${each.method} ${each.template}`, each] as const);

describe('however a path is spelled', () => {
  let ground: ArmGround;
  beforeAll(async () => {
    ground = await createArmGround();
  });

  it.each(named(ROUTES.filter(isRead)))('%s answers the same', async (_name, { method, template }) => {
    const path = ground.pathOf(template);
    const plain = meaning(await ground.ask(method, `${path}?${API_VERSION}`));
    await fc.assert(
      fc.asyncProperty(spellings(path), async (other) => {
        expect(meaning(await ground.ask(method, `${other}?${API_VERSION}`))).toEqual(plain);
      }),
      { numRuns: 12 },
    );
  });

  // Each in a world of its own, which are all the same: what is done is done under the same ids.
  it.each(named(ROUTES.filter((each) => !isRead(each))))('%s does the same', async (_name, each) => {
    const doneBy = async (path: string) => {
      const { ask, names } = await createArmGround();
      return meaning(await ask(each.method, `${path}?${API_VERSION}`, { body: sampleBody(each, names) }));
    };
    const path = ground.pathOf(each.template);
    const plain = await doneBy(path);
    await fc.assert(
      fc.asyncProperty(spellings(path), async (other) => {
        expect(await doneBy(other)).toEqual(plain);
      }),
      { numRuns: 4 },
    );
  });
});
