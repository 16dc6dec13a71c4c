/** Directories that look like appliances. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const ROOT_UUID = '00112233-4455-6677-8899-aabbccddeeff';

/** The first bytes of an ext file system with {@link ROOT_UUID}. */
export function extImage(): Buffer {
  const image = Buffer.alloc(4096);
  image.writeUInt16LE(0xef53, 1024 + 0x38);
  Buffer.from(ROOT_UUID.replaceAll('-', ''), 'hex').copy(image, 1024 + 0x68);
  return image;
}

export interface Scene {
  readonly path: string;
  /** Writes a file below the directory, and creates its parent directories. */
  write(name: string, content: string | Buffer): Promise<void>;
  /** Creates a fixed appliance in a subdirectory. */
  fixed(name: string, without?: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

/** Creates an empty directory for a test. */
export async function createScene(): Promise<Scene> {
  const path = await mkdtemp(join(tmpdir(), 'appliance-'));
  const write = async (name: string, content: string | Buffer): Promise<void> => {
    await mkdir(join(path, name, '..'), { recursive: true });
    await writeFile(join(path, name), content);
  };
  return {
    path,
    write,
    fixed: async (name, without = []) => {
      const files = { 'README.fixed': 'x', kernel: 'kernel', initrd: 'initrd', root: extImage() };
      for (const [file, content] of Object.entries(files)) {
        if (!without.includes(file)) await write(`${name}/${file}`, content);
      }
      return join(path, name);
    },
    remove: () => rm(path, { recursive: true, force: true }),
  };
}
