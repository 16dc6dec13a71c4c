/** A tar archive of empty files, made as it is read. */
import { once } from 'node:events';
import { pack, type Pack } from 'tar-stream';

const PERMISSIONS = 0o644;
const EPOCH = new Date(0);
/** Headers are small: so many bytes of them go into one message. */
const PIECE = 128 * 1024;

async function addAll(archive: Pack, names: Iterable<string>): Promise<void> {
  for (const name of names) {
    const entry = archive.entry({ name, mode: PERMISSIONS, mtime: EPOCH }, '');
    await once(entry, 'finish');
  }
  archive.finalize();
}

/** The archive, in pieces; directories are made by those that extract it. */
export async function* emptyFilesArchive(names: Iterable<string>): AsyncGenerator<Buffer> {
  const archive = pack();
  addAll(archive, names).catch((error: unknown) => archive.destroy(error as Error));
  let gathered: Buffer[] = [];
  let length = 0;
  for await (const chunk of archive as AsyncIterable<Buffer>) {
    gathered.push(chunk);
    length += chunk.length;
    if (length < PIECE) continue;
    yield Buffer.concat(gathered);
    [gathered, length] = [[], 0];
  }
  yield Buffer.concat(gathered);
}
