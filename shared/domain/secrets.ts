/** What stands in a text where a secret stood. */
export const HIDDEN = '***';

/** A value in the places where one is found: a query, a connection string, a form, a header, JSON. Ends where none of these goes on. */
const VALUE = String.raw`[^\s&;,"'<>\\]+`;

/**
 * What tells that a secret follows. The first group stays, what follows it goes.
 *
 * - a SAS and a function key in a URL; a key or SAS in a connection string;
 * - what identity endpoints take and give, in forms and in JSON;
 * - credentials in headers: bearer tokens, and storage's signatures, which a refused request is answered with.
 */
const MARKED = [
  /((?:\b|%3F|%26)sig(?:=|%3D))[^\s&;,"'<>\\]+/gi,
  /([?&]code=)[^\s&;,"'<>\\]+/gi,
  new RegExp(String.raw`\b((?:AccountKey|SharedAccessKey)\s*=\s*)${VALUE}`, 'gi'),
  // All of a SAS, its own parts and ampersands included.
  /\b(SharedAccessSignature\s*=\s*)[^\s;,"'<>\\]+/gi,
  new RegExp(
    String.raw`\b((?:client_secret|client_assertion|access_token|refresh_token|id_token|password)(?:\\?["'])?\s*[=:]\s*(?:\\?["'])?)${VALUE}`,
    'gi',
  ),
  new RegExp(
    String.raw`\b((?:x-functions-key|x-ms-copy-source-authorization)(?:\\?["'])?\s*[=:]\s*(?:\\?["'])?)${VALUE}`,
    'gi',
  ),
  /\b(Bearer\s+)[\w.~+/=-]{8,}/gi,
  /\b(SharedKey(?:Lite)?\s+[\w-]+:)[\w+/=]+/gi,
];

/** A signed token wherever it stands: three parts in base64url, of which the first begins a JSON object. */
const TOKEN = /\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g;

/**
 * `text` without what would let its reader act in somebody's name. `known` are secrets of this deployment, hidden wherever they
 * stand; those of fewer than 8 characters are left, as they would hide half the words of a line. Hiding again changes nothing.
 */
export function hideSecrets(text: string, known: readonly string[] = []): string {
  let shown = text;
  for (const secret of known) if (secret.length >= 8) shown = shown.replaceAll(secret, HIDDEN);
  for (const pattern of MARKED) shown = shown.replace(pattern, `$1${HIDDEN}`);
  return shown.replace(TOKEN, HIDDEN);
}
