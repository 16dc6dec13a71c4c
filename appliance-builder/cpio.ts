/**
 * Writes the archive format that the kernel unpacks an initrd from ("newc").
 * Everything in it belongs to root, regardless of who runs the build.
 */

/** One file of the archive; directories come before what is in them. */
export interface CpioEntry {
  /** Without a leading slash. */
  readonly path: string;
  /** Permissions, such as 0o755. */
  readonly mode: number;
  /** Content of a file; undefined for a directory. */
  readonly content?: Uint8Array;
}

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

/** Packs files and directories. */
export function packCpio(entries: readonly CpioEntry[]): Buffer {
  const parts: Buffer[] = [];
  entries.forEach((entry, index) => {
    const type = entry.content === undefined ? S_IFDIR : S_IFREG;
    // Inode numbers only have to differ: equal ones would be hard links.
    parts.push(header(entry.path, index + 1, type | entry.mode, entry.content?.length ?? 0));
    if (entry.content !== undefined) parts.push(Buffer.from(entry.content), padding(entry.content.length));
  });
  parts.push(header('TRAILER!!!', 0, 0, 0));
  return Buffer.concat(parts);
}

/** The header of an entry, with its name, padded to a multiple of four bytes. */
function header(path: string, inode: number, mode: number, size: number): Buffer {
  const name = Buffer.from(`${path}\0`);
  const [uid, gid, links, mtime, device, check] = [0, 0, 1, 0, 0, 0];
  const fields = [inode, mode, uid, gid, links, mtime, size, device, device, device, device, name.length, check];
  const text = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`;
  return Buffer.concat([Buffer.from(text), name, padding(text.length + name.length)]);
}

function padding(length: number): Buffer {
  return Buffer.alloc(-length & 3);
}
