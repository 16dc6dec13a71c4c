/** Questions about files whose answers are known. */
import { createHash } from 'node:crypto';
import { DIRECTORIES, sha256Of } from '../durability/load.js';
import type { Random } from '../fuzz/engine/random.js';
import type { SessionClient } from '../support/testClient.js';

const CHECKSUMS = ['md5', 'sha1', 'sha256', 'sha512'] as const;

interface Question {
  readonly text: string;
  readonly answer: unknown;
  readonly expected: unknown;
}

/** Asks something about a file or a directory. @returns what is wrong with the answer */
export async function ask(
  session: SessionClient,
  files: ReadonlyMap<string, Buffer>,
  random: Random,
): Promise<string | undefined> {
  const { text, answer, expected } = await question(session, files, random);
  const [got, wanted] = [JSON.stringify(answer), JSON.stringify(expected)];
  return got === wanted ? undefined : `${text}: ${got.slice(0, 200)} instead of ${wanted.slice(0, 200)}`;
}

async function question(session: SessionClient, files: ReadonlyMap<string, Buffer>, random: Random): Promise<Question> {
  const about = files.size === 0 || random.once(6) ? undefined : random.of([...files]);
  if (about === undefined) return aboutDirectory(session, files, random.of(DIRECTORIES));
  const [path, content] = about;
  switch (random.below(6)) {
    case 0: {
      const found: Buffer = await session.call('read_file', { path });
      return { text: `read_file ${path}`, answer: sha256Of(Buffer.from(found)), expected: sha256Of(content) };
    }
    case 1: {
      const found = await session.download('download', { remotefilename: path });
      return { text: `download ${path}`, answer: sha256Of(found), expected: sha256Of(content) };
    }
    case 2: {
      const size: bigint = await session.call('filesize', { file: path });
      return { text: `filesize ${path}`, answer: Number(size), expected: content.length };
    }
    case 3: {
      const csumtype = random.of(CHECKSUMS);
      const answer: string = await session.call('checksum', { csumtype, path });
      return { text: `${csumtype} of ${path}`, answer, expected: createHash(csumtype).update(content).digest('hex') };
    }
    case 4: {
      const [offset, count] = [random.below(content.length + 1), 1 + random.below(5000)];
      const found: Buffer = await session.call('pread', { path, count, offset: BigInt(offset) });
      const expected = sha256Of(content.subarray(offset, offset + count));
      return { text: `pread ${path} ${count} ${offset}`, answer: sha256Of(Buffer.from(found)), expected };
    }
    default: {
      const gone = `${path}-not`;
      const answer = await Promise.all([path, gone].map((one) => session.call('exists', { path: one })));
      return { text: `exists ${path}`, answer, expected: [true, false] };
    }
  }
}

/** What `find` lists below a directory. */
async function aboutDirectory(
  session: SessionClient,
  files: ReadonlyMap<string, Buffer>,
  directory: string,
): Promise<Question> {
  const found: string[] = await session.call('find', { directory });
  const expected = [...files.keys(), ...DIRECTORIES]
    .filter((path) => path.startsWith(`${directory}/`))
    .map((path) => path.slice(directory.length + 1));
  // Some daemons list names with the slash before them.
  const names = found.map((name) => name.replace(/^\//, ''));
  return { text: `find ${directory}`, answer: names.sort(), expected: expected.sort() };
}
