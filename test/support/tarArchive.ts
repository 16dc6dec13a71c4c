/** Tar archives for tests, entry by entry, so that they can be wrong in any way. */

/** One entry. */
export interface TarEntry {
  readonly name: string;
  readonly content?: Buffer | string;
  /** `0` is a file. */
  readonly type?: string;
  /** Of the field, instead of the length of the content. */
  readonly size?: string | Buffer;
  /** Directory of the name. */
  readonly prefix?: string;
}

const BLOCK = 512;
/** Two blocks of zeros. */
export const TAR_END = Buffer.alloc(2 * BLOCK);

/** A header with its checksum, and the content in whole blocks. */
export function tarEntry({ name, content = '', type = '0', size, prefix = '' }: TarEntry): Buffer {
  const data = Buffer.from(content as Buffer);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  header.write(name, 0, 100);
  header.write(octal(0o644, 7), 100);
  Buffer.from((size ?? octal(data.length, 11)) as Buffer).copy(header, 124, 0, 12);
  header.write(octal(0, 11), 136);
  header.write(' '.repeat(8), 148);
  header.write(type, 156);
  header.write('ustar\x0000', 257);
  header.write(prefix, 345, 155);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return Buffer.concat([header, data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)]);
}

/** A whole archive. */
export function tarArchive(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(tarEntry), TAR_END]);
}

/** A record of pax. */
export function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length += 1;
  return `${length}${rest}`;
}
