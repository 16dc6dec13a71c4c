import { mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { silentLogger } from '../../../src/common/logger.js';
import {
  formatIdentity,
  identityOf,
  isRunning,
  parseIdentity,
  type ProcessIdentity,
} from '../../../src/common/processIdentity.js';
import { startProcess, type StartedProcess } from '../../../src/common/subprocess.js';
import { createRunDirectory, sweepRunDirectories } from '../../../src/common/tempDir.js';

let parent: string;
let self: ProcessIdentity;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'run-'));
  self = (await identityOf(process.pid)) as ProcessIdentity;
});
afterEach(() => rm(parent, { recursive: true, force: true }));

const sleeper = (): Promise<StartedProcess> =>
  startProcess('sleep', ['60'], { channels: 0, fds: [], env: {}, cwd: '/' });
const makeStale = async (maker: ProcessIdentity): Promise<string> => {
  const path = join(parent, `guestfs-grpc-${formatIdentity(maker)}-aBc123`);
  await mkdir(join(path, 'private'), { recursive: true });
  await writeFile(join(path, 'private', 'file'), 'x');
  return path;
};

describe('a run directory', () => {
  it('has a private part and is removed with its content', async () => {
    const directory = await createRunDirectory(parent, undefined);
    expect((await stat(directory.path)).mode & 0o777).toBe(0o700);
    await writeFile(join(directory.path, 'file'), 'x');
    await directory.remove();
    await directory.remove();
    expect(await readdir(parent)).toEqual([]);
  });

  (process.geteuid?.() === 0 ? it : it.skip)(
    'belongs to the user it is made for, inside one that does not',
    async () => {
      const directory = await createRunDirectory(parent, { uid: 12345, gid: 12346 });
      expect(await stat(directory.path)).toMatchObject({ uid: 12345, gid: 12346 });
      const outer = await stat(join(directory.path, '..'));
      expect([outer.uid, outer.mode & 0o777]).toEqual([0, 0o711]);
      await directory.remove();
    },
  );
});

describe('the sweep', () => {
  it('removes what a dead server left behind, and ends its child', async () => {
    const child = await sleeper();
    const stale = await makeStale({ ...self, startTime: '1' });
    await writeFile(join(stale, `child-${formatIdentity((await identityOf(child.pid)) as ProcessIdentity)}`), '');
    expect(await sweepRunDirectories(parent, silentLogger)).toBe(1);
    expect(await readdir(parent)).toEqual([]);
    await expect(child.exited).resolves.toMatchObject({ signal: 'SIGKILL' });
  });

  it('leaves alone a process with the number of an ended child', async () => {
    const other = await sleeper();
    const stale = await makeStale({ ...self, startTime: '1' });
    await writeFile(join(stale, `child-${self.namespace}-${other.pid}-1`), '');
    await sweepRunDirectories(parent, silentLogger);
    expect(await identityOf(other.pid)).toBeDefined();
    other.kill('SIGKILL');
    await other.exited;
  });

  it('leaves alone the directories of running servers and other containers, and other files', async () => {
    const mine = await createRunDirectory(parent, undefined);
    await makeStale({ ...self, namespace: '1', startTime: '1' });
    await mkdir(join(parent, 'guestfs-grpc-other'));
    await mkdir(join(parent, 'something'));
    await symlink('/etc', join(parent, `guestfs-grpc-${formatIdentity({ ...self, startTime: '2' })}-link`));
    const before = await readdir(parent);
    expect(await sweepRunDirectories(parent, silentLogger)).toBe(0);
    expect(await readdir(parent)).toEqual(before);
    await mine.remove();
  });

  it('finds nothing if there is nothing', async () => {
    expect(await sweepRunDirectories(join(parent, 'none'), silentLogger)).toBe(0);
  });
});

describe('the identity of a process', () => {
  it('can be converted to a word and back', () => {
    expect(parseIdentity(formatIdentity(self))).toEqual(self);
    expect(parseIdentity('a-1-2')).toBeUndefined();
  });

  it('distinguishes a running process from a dead one and from one that cannot be seen', async () => {
    const child = await sleeper();
    const identity = (await identityOf(child.pid)) as ProcessIdentity;
    expect(await isRunning(identity)).toBe(true);
    child.kill('SIGKILL');
    await child.exited;
    expect(await isRunning(identity)).toBe(false);
    expect(await isRunning({ ...self, namespace: '1' })).toBeUndefined();
  });
});
