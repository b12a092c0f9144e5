/**
 * Leaves out checksums that nobody asked for.
 *
 * After every Put Page, and every Put Block without an MD5, Azurite reads the bytes back and computes their CRC-64 in
 * JavaScript, only to put it into a header of the answer: more than half of the time of a page write. Azure computes it in hardware.
 * Checksums that come with a request are checked as before, and the MD5 that a blob keeps is computed as before.
 */
import type { Readable } from 'node:stream';
import type { Azurite } from './azurite-modules.ts';

export function leaveOutUnaskedChecksums({ checksums }: Azurite): void {
  const compute = checksums.computeAndValidateTransactionalChecksums;
  checksums.computeAndValidateTransactionalChecksums = async (stream, expected, contextId, force) => {
    if (expected.md5 !== undefined || expected.crc64 !== undefined || force?.md5 === true) {
      return compute(stream, expected, contextId, { ...force, crc64: false });
    }
    (stream as Readable).destroy();
    return {};
  };
}
