/** The contents of files that are transferred: their names say which. */
import { crc32c } from '../../src/common/crc32c.js';

/** A file named `SIZE.NUMBER`. */
export function contentOf(name: string): Buffer {
  const [size = 0, seed = 0] = name.split('.').map(Number);
  return Buffer.alloc(size, `${seed},`);
}

/** Equal for equal contents. */
export function summary(data: Buffer): string {
  return `${data.length} bytes, ${crc32c(data)}`;
}
