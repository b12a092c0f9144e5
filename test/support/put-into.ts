/** `bytes` in the first bytes of `into`, as real adapters put them there; where it is not given, as they are. */
export function putInto(into: Uint8Array | undefined, bytes: Uint8Array): Uint8Array {
  if (into === undefined) return bytes;
  into.set(bytes);
  return into.subarray(0, bytes.length);
}
