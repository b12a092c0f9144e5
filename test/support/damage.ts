/* The ways in which storage can damage an object. */

/** Flips a bit at a share of the way through, where 0 is the first byte and 1 the last. */
export const flip = (at: number) => (body: Uint8Array) => {
  const copy = Uint8Array.from(body);
  const index = Math.floor(at * (copy.length - 1));
  copy[index] = copy[index]! ^ 0x40;
  return copy;
};

/** What is left of an object's bytes, by what has happened to them; undefined: nothing, not even the object. */
export const DAMAGES: Readonly<Record<string, (body: Uint8Array) => Uint8Array | undefined>> = {
  deleted: () => undefined,
  'cut to nothing': () => new Uint8Array(0),
  'cut in half': (body) => body.subarray(0, body.length >> 1),
  'without its last byte': (body) => body.subarray(0, body.length - 1),
  'with a bit flipped at its start': flip(0),
  'with a bit flipped in the first quarter': flip(0.25),
  'with a bit flipped in the middle': flip(0.5),
  'with a bit flipped near the end': flip(0.9),
};
