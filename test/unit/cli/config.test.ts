import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig, type ServerConfig } from '../../../src/cli/config.js';
import { readCommandLine, UsageError } from '../../../src/cli/commandLine.js';
import { inEnvironment } from './environment.js';

let root = '';
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'guestfs-grpc-config-')));
});
afterAll(() => rm(root, { recursive: true }));

async function read(args: string[], environment: NodeJS.ProcessEnv = {}): Promise<ServerConfig> {
  const line = inEnvironment(environment, () => readCommandLine(['--image-root', root, ...args]));
  if ('text' in line) throw new Error('no flags');
  return readConfig(line, environment);
}

describe('configuration', () => {
  it('has the documented defaults', async () => {
    expect(await read([], { HOME: '/home/x' })).toMatchObject({
      listen: '127.0.0.1:50051',
      maxSessions: 64,
      idleTimeoutMs: 3_600_000,
      drain: { delayMs: 0, graceMs: 60_000 },
      debugService: false,
      logLevel: 'info',
      tls: undefined,
      policy: { imageRoots: { directories: [root] }, allowed: new Set() },
      defaults: {
        memsizeMb: 1280,
        smp: 1,
        accelerator: 'auto',
        path: '/home/x/.cache/guestfs-grpc/appliance/trixie',
        tmpdir: '/tmp',
        network: false,
      },
    });
  });

  it("reads libguestfs's variables", async () => {
    const environment = {
      LIBGUESTFS_PATH: '/a',
      LIBGUESTFS_HV: '/q',
      LIBGUESTFS_MEMSIZE: '700',
      LIBGUESTFS_TMPDIR: '/t',
      LIBGUESTFS_CACHEDIR: '/c',
      LIBGUESTFS_APPEND: 'x=y',
      LIBGUESTFS_DEBUG: '1',
      LIBGUESTFS_TRACE: '1',
      LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
    };
    expect((await read([], environment)).defaults).toMatchObject({
      path: '/a',
      hv: '/q',
      memsizeMb: 700,
      tmpdir: '/t',
      cachedir: '/c',
      append: 'x=y',
      verbose: true,
      trace: true,
      backendSettings: ['force_tcg'],
    });
  });

  it('has a socket of systemd only if systemd has passed one to this process', async () => {
    const none = /systemd has passed no socket to this process/;
    await expect(read(['--listen', 'systemd'])).rejects.toThrow(none);
    const another = { LISTEN_PID: '1', LISTEN_FDS: '1' };
    await expect(read(['--listen', 'systemd'], another)).rejects.toThrow(none);
    const two = { LISTEN_PID: String(process.pid), LISTEN_FDS: '2' };
    await expect(read(['--listen', 'systemd'], two)).rejects.toThrow('has to pass one socket, not 2');
  });

  it('prefers flags to variables', async () => {
    const { defaults } = await read(['--appliance', '/b', '--accel', 'kvm', '--memsize', '900'], {
      LIBGUESTFS_PATH: '/a',
      LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
      LIBGUESTFS_MEMSIZE: '700',
    });
    expect(defaults).toMatchObject({ path: '/b', accelerator: 'kvm', backendSettings: [], memsizeMb: 900 });
  });

  it("treats an empty variable as unset, and accepts a boolean in any of libguestfs's words", async () => {
    const empty = {
      HOME: '/home/x',
      LIBGUESTFS_PATH: '',
      LIBGUESTFS_MEMSIZE: '',
      LIBGUESTFS_HV: '',
      LIBGUESTFS_QEMU: '/q',
      LIBGUESTFS_TMPDIR: '',
      TMPDIR: '/t',
      LIBGUESTFS_CACHEDIR: '',
      LIBGUESTFS_DEBUG: 'Yes',
      LIBGUESTFS_TRACE: 'off',
    };
    expect((await read([], empty)).defaults).toMatchObject({
      path: '/home/x/.cache/guestfs-grpc/appliance/trixie',
      hv: '/q',
      tmpdir: '/t',
      cachedir: '/t',
      memsizeMb: 1280,
      verbose: true,
      trace: false,
    });
  });

  it("uses libguestfs's variable if that of the flag is empty", async () => {
    const environment = { GUESTFS_GRPC_MEMSIZE: '', LIBGUESTFS_MEMSIZE: '700' };
    expect((await read([], environment)).defaults.memsizeMb).toBe(700);
  });

  it.each([
    { LIBGUESTFS_DEBUG: 'maybe' },
    { LIBGUESTFS_TRACE: 'maybe' },
    { LIBGUESTFS_MEMSIZE: '100' },
    { LIBGUESTFS_MEMSIZE: 'x' },
    { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg=maybe' },
    { LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg:force_kvm' },
  ])('refuses %j', async (environment) => {
    await expect(read([], environment)).rejects.toBeInstanceOf(UsageError);
  });

  it('never ends idle sessions when the timeout is 0', async () => {
    expect((await read(['--idle-timeout', '0'])).idleTimeoutMs).toBeUndefined();
  });

  it('creates ./images if no image root is given, but no other', async () => {
    const before = process.cwd();
    process.chdir(root);
    try {
      const line = inEnvironment({}, () => readCommandLine([]));
      if ('text' in line) throw new Error('no flags');
      const { policy } = await readConfig(line, {});
      expect(policy.imageRoots.directories).toEqual([join(root, 'images')]);
      await expect(read(['--image-root', 'other'])).rejects.toThrow(/--image-root: other: .*ENOENT/);
    } finally {
      process.chdir(before);
    }
  });

  it("prefers the server's own variable to libguestfs's, even with the default value", async () => {
    const environment = {
      GUESTFS_GRPC_MEMSIZE: '1280',
      LIBGUESTFS_MEMSIZE: '700',
      GUESTFS_GRPC_ACCEL: 'auto',
      LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg:gdb',
    };
    expect((await read([], environment)).defaults).toMatchObject({
      memsizeMb: 1280,
      accelerator: 'auto',
      backendSettings: ['gdb'],
    });
  });

  it.each([
    ['--listen', '127.0.0.1:1'],
    ['--listen', '127.1.2.3:1'],
    ['--listen', '[::1]:1'],
    ['--listen', '[0:0:0:0:0:0:0:1]:1'],
    ['--listen', 'localhost:1'],
    ['--listen', 'unix:/run/x.sock'],
    ['--listen', '0.0.0.0:1', '--insecure-listen'],
    ['--listen', '0.0.0.0:1', '--tls-cert', 'c', '--tls-key', 'k'],
  ])('listens with %s %s', async (...args) => {
    expect((await read(args)).listen).toBe(args[1]);
  });

  it.each([
    [
      ['--listen', 'unix:/run/x', '--socket-mode', '666'],
      { identities: { users: true }, clientBudget: { sessions: 32 } },
    ],
    [['--listen', 'unix:/run/x'], { identities: { users: true }, clientBudget: { sessions: undefined } }],
    [['--listen', 'unix:/run/x', '--policy', 'p', '--xfcc-peers', 'uid:7'], { identities: { proxies: ['uid:7'] } }],
    [['--jwt-keys', 'x', '--jwt-issuer', 'i', '--jwt-audience', 'a'], { clientBudget: { sessions: 32 } }],
    [[], { identities: undefined, clientBudget: { sessions: undefined } }],
  ])('identifies clients as %j says', async (args, expected) => {
    expect(await read(args)).toMatchObject(expected);
  });

  it.each([
    [['--image-root', '/does/not/exist'], /--image-root/],
    [['--tls-cert', 'x'], /--tls-cert and --tls-key/],
    [['--tls-key', 'x'], /--tls-cert and --tls-key/],
    [['--client-ca', 'x'], /--client-ca/],
    [['--launch', 'cold', '--pool', '1'], /--pool/],
    [['--policy', 'x'], /--policy needs --client-ca/],
    [['--jwt-keys', 'x', '--jwt-issuer', 'x'], /--jwt-audience need each other/],
    [['--xfcc-peers', 'cn:x'], /--xfcc-peers needs --client-ca/],
    [['--listen', 'unix:/run/x', '--tls-cert', 'c', '--tls-key', 'k', '--policy', 'x'], /--policy needs --client-ca/],
    [['--socket-mode', '660'], /--socket-mode needs --listen unix:/],
    [['--insecure-isolation'], /--insecure-isolation needs --client-ca/],
    [['--listen', '0.0.0.0:1'], /--insecure-listen/],
    [['--listen', '[::]:1'], /--insecure-listen/],
    [['--listen', '192.0.2.1:1'], /--insecure-listen/],
    [['--listen', 'host.example:1'], /--insecure-listen/],
    [['--listen', '127.example:1'], /--insecure-listen/],
  ])('refuses %j', async (args, why) => {
    const refused = read(args);
    await expect(refused).rejects.toBeInstanceOf(UsageError);
    await expect(refused).rejects.toThrow(why);
  });
});
