/** Just enough of DER (X.690) to write a certificate: each function returns one encoded value. */
const encode = (tag: number, content: Uint8Array): Buffer => {
  const length =
    content.length < 0x80
      ? [content.length]
      : content.length < 0x100
        ? [0x81, content.length]
        : [0x82, content.length >> 8, content.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), content]);
};

export const sequence = (...items: Uint8Array[]): Buffer => encode(0x30, Buffer.concat(items));
export const set = (...items: Uint8Array[]): Buffer => encode(0x31, Buffer.concat(items));
export const octetString = (content: Uint8Array): Buffer => encode(0x04, content);
export const bitString = (content: Uint8Array, unusedBits = 0): Buffer =>
  encode(0x03, Buffer.concat([Buffer.from([unusedBits]), content]));
export const utf8String = (text: string): Buffer => encode(0x0c, Buffer.from(text, 'utf8'));
export const boolean = (value: boolean): Buffer => encode(0x01, Buffer.from([value ? 0xff : 0]));
/** A positive integer from its big-endian bytes. */
export const integer = (bytes: Uint8Array): Buffer =>
  encode(0x02, (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.from([0]), bytes]) : bytes);
/** `[number]` with explicit content, or implicit when `isConstructed` is false. */
export const context = (number: number, content: Uint8Array, isConstructed = true): Buffer =>
  encode((isConstructed ? 0xa0 : 0x80) | number, content);

/** An object identifier in dotted text. */
export function oid(text: string): Buffer {
  const [first = 0, second = 0, ...rest] = text.split('.').map(Number);
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const septets = [arc & 0x7f];
    for (let left = arc >>> 7; left > 0; left >>>= 7) septets.unshift((left & 0x7f) | 0x80);
    bytes.push(...septets);
  }
  return encode(0x06, Buffer.from(bytes));
}

/** UTCTime up to 2049, GeneralizedTime after it (RFC 5280, section 4.1.2.5). */
export function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-:T]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050 ? encode(0x17, Buffer.from(digits.slice(2))) : encode(0x18, Buffer.from(digits));
}
