import type { QueueSettings } from './settings.ts';

/** A queue's text to what the function gets; undefined when host.json's encoding does not fit the text. */
export function decodeMessage(text: string, encoding: QueueSettings['messageEncoding']): string | undefined {
  if (encoding === 'none') return text;
  const bytes = Buffer.from(text, 'base64');
  // Buffer skips what is not Base64; a text that does not come back is not Base64.
  const isBase64 = bytes.toString('base64').replace(/=+$/, '') === text.trim().replace(/=+$/, '');
  return isBase64 ? bytes.toString('utf8') : undefined;
}

export function encodeMessage(text: string, encoding: QueueSettings['messageEncoding']): string {
  return encoding === 'none' ? text : Buffer.from(text, 'utf8').toString('base64');
}
