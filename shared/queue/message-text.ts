import { BackupError } from '../domain/errors.ts';
import { parseStep, type Step } from './steps.ts';

/** A queue message's greatest length in bytes, as sent. https://learn.microsoft.com/rest/api/storageservices/put-message */
const MAX_MESSAGE_BYTES = 65_536;

/** The longest delay that the service takes: 7 days. */
const MAX_DELAY_SECONDS = 604_800;

/**
 * A step as it lies on the queue: base64 of its JSON, as host.json's messageEncoding says. Base64 leaves 48 KiB for the JSON.
 * @throws BackupError MessageInvalid when it is no step (nobody could read it) or too long
 */
export function messageText(step: Step): string {
  const text = Buffer.from(JSON.stringify(parseStep(step)), 'utf8').toString('base64');
  if (text.length <= MAX_MESSAGE_BYTES) return text;
  const limit = `the queue takes ${MAX_MESSAGE_BYTES}`;
  throw new BackupError('MessageInvalid', `a ${step.step} message has ${text.length} bytes in base64, ${limit}`);
}

/** The reverse of messageText. @throws BackupError MessageInvalid */
export function stepFromText(text: string): Step {
  return parseStep(Buffer.from(text, 'base64').toString('utf8'));
}

/** @throws BackupError InvalidRequest unless `delaySeconds` is a whole number of seconds up to 7 days */
export function checkDelay(delaySeconds: number): void {
  if (Number.isInteger(delaySeconds) && delaySeconds >= 0 && delaySeconds <= MAX_DELAY_SECONDS) return;
  const expected = `expected whole seconds, 0 to ${MAX_DELAY_SECONDS}`;
  throw new BackupError('InvalidRequest', `a message cannot wait ${delaySeconds} seconds: ${expected}`, {
    target: 'delaySeconds',
  });
}
