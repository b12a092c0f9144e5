import { assert, base64String, constantFrom, lorem, pre, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HIDDEN, hideSecrets } from '../../shared/domain/secrets.ts';

const SECRET = 'Zm9vYmFy+c2Vj/cmV0MTIz==';
const URL_SECRET = encodeURIComponent(SECRET);
const JWT = 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzb21lYm9keSJ9.c2lnbmF0dXJl-X_y';

describe('secrets in a text', () => {
  it.each([
    [
      'a SAS',
      `GET https://a/b?sv=2024&sig=${URL_SECRET}&se=2026 failed`,
      `GET https://a/b?sv=2024&sig=***&se=2026 failed`,
    ],
    ['a SAS that stands first', `https://a/b?sig=${URL_SECRET}`, 'https://a/b?sig=***'],
    [
      'a SAS in an encoded URL',
      `u=https%3A%2F%2Fa%3Fsig%3D${encodeURIComponent(URL_SECRET)}&x=1`,
      'u=https%3A%2F%2Fa%3Fsig%3D***&x=1',
    ],
    ['a function key', `POST /api/backup-now?code=${SECRET}&a=b`, 'POST /api/backup-now?code=***&a=b'],
    ['a function key in a header', `"x-functions-key":"${SECRET}"`, '"x-functions-key":"***"'],
    [
      'an account key',
      `AccountName=a;AccountKey=${SECRET};EndpointSuffix=b`,
      'AccountName=a;AccountKey=***;EndpointSuffix=b',
    ],
    ['a SAS in a connection string', `SharedAccessSignature=sv=1&sig=${SECRET};X=1`, 'SharedAccessSignature=***;X=1'],
    ['a bearer token', `authorization: Bearer ${JWT}`, 'authorization: Bearer ***'],
    ['an opaque bearer token', 'Bearer abcdef0123456789', 'Bearer ***'],
    ['a token anywhere', `the token ${JWT} was refused`, 'the token *** was refused'],
    ['a shared key', `Authorization: SharedKey account1:${SECRET}`, 'Authorization: SharedKey account1:***'],
    ['a client secret in a form', `client_id=a&client_secret=${URL_SECRET}&b`, 'client_id=a&client_secret=***&b'],
    ['a client secret in JSON', `{"client_secret":"${SECRET}"}`, '{"client_secret":"***"}'],
    ['a token in JSON in JSON', String.raw`{\"access_token\": \"${SECRET}\"}`, String.raw`{\"access_token\": \"***\"}`],
  ])('%s is hidden', (_, text, shown) => {
    expect(hideSecrets(text)).toBe(shown);
  });

  it.each([
    'job 7: 3 of 9 bytes',
    'BlobNotFound: code=404, design=new, the bearer of this message',
    'https://account.blob.core.windows.net/c/b?snapshot=2026-01-01T00:00:00.0000000Z&comp=pagelist',
    'request=11111111-2222-4333-8444-555555555555 step take-snapshot',
  ])('what is none stays: %s', (text) => {
    expect(hideSecrets(text)).toBe(text);
  });

  it('known ones go wherever they stand, but not words that are too short', () => {
    expect(hideSecrets('posting to https://hook/abcdefgh twice', ['https://hook/abcdefgh', 'to'])).toBe(
      'posting to *** twice',
    );
  });

  it('are hidden in whatever they are put, and hiding again changes nothing', () => {
    const place = constantFrom(
      '?sig=',
      '&sig=',
      'AccountKey=',
      'client_secret=',
      '?code=',
      'Bearer ',
      'SharedKey name:',
    );
    const secret = base64String({ minLength: 16, maxLength: 88 });
    assert(
      property(place, secret, lorem(), constantFrom(' ', '"', '\n', '&', ''), (before, own, words, after) => {
        pre(!words.includes(own));
        const shown = hideSecrets(`${words} ${before}${own}${after}`);
        expect(shown).not.toContain(own);
        expect(shown).toContain(HIDDEN);
        expect(hideSecrets(shown)).toBe(shown);
      }),
    );
  });
});
