/** Writes little-endian numbers and texts one after another. */
export class ColumnWriter {
  #buffer = Buffer.alloc(4096);
  #at = 0;

  /** Where the next `bytes` go. The buffer may be another one afterwards. */
  #room(bytes: number): number {
    if (this.#at + bytes > this.#buffer.length) {
      const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#at + bytes));
      this.#buffer.copy(larger);
      this.#buffer = larger;
    }
    const at = this.#at;
    this.#at += bytes;
    return at;
  }

  u8(value: number): void {
    const at = this.#room(1);
    this.#buffer.writeUInt8(value, at);
  }

  u16(value: number): void {
    const at = this.#room(2);
    this.#buffer.writeUInt16LE(value, at);
  }

  u32(value: number): void {
    const at = this.#room(4);
    this.#buffer.writeUInt32LE(value, at);
  }

  /** UTF-8 behind its length in bytes as u16. */
  text(value: string): void {
    const bytes = Buffer.from(value);
    this.u16(bytes.length);
    const at = this.#room(bytes.length);
    bytes.copy(this.#buffer, at);
  }

  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#at);
  }
}

/** Reads what ColumnWriter wrote. Reading past the end throws a RangeError. */
export class ColumnReader {
  readonly #buffer: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  #take(bytes: number): number {
    const at = this.#at;
    if (at + bytes > this.#buffer.length)
      throw new RangeError(`ends after ${this.#buffer.length} bytes, ${at + bytes} expected`);
    this.#at += bytes;
    return at;
  }

  u32(): number {
    return this.#buffer.readUInt32LE(this.#take(4));
  }

  u32s(count: number): Uint32Array {
    const at = this.#take(count * 4);
    return Uint32Array.from({ length: count }, (_, i) => this.#buffer.readUInt32LE(at + i * 4));
  }

  u16s(count: number): Uint16Array {
    const at = this.#take(count * 2);
    return Uint16Array.from({ length: count }, (_, i) => this.#buffer.readUInt16LE(at + i * 2));
  }

  u8s(count: number): Uint8Array {
    const at = this.#take(count);
    return this.#buffer.subarray(at, at + count);
  }

  text(): string {
    const length = this.#buffer.readUInt16LE(this.#take(2));
    const at = this.#take(length);
    return this.#buffer.toString('utf8', at, at + length);
  }

  /** @throws RangeError when something is left over */
  end(): void {
    if (this.#at !== this.#buffer.length) throw new RangeError(`has ${this.#buffer.length - this.#at} bytes too many`);
  }
}
