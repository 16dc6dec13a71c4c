/** The process that connects to the server of a remote drive, with real servers. */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { onBehalfOf } from '../../../src/common/onBehalf.js';
import { overrideIsolation } from '../../../src/jail/isolation.js';
import { abortController } from '../../../src/common/waiting.js';
import { openRemoteExport, type RemoteExport } from '../../../src/images/remoteExport.js';
import type { RemoteServer, RemoteSource } from '../../../src/images/remoteSource.js';
import { nbdkit, type DiskServer } from '../../support/diskServers.js';
import { eventually } from '../../support/eventually.js';
import { errorOf, makeScene, openFiles, rawImage, type Scene } from './scene.js';

const SIZE = 3 << 20;
const NOBODY = 65534;
const QEMU = 'qemu-system-x86_64';
const isRoot = process.geteuid?.() === 0;

let scene: Scene;
let run: string;
let abort: AbortController;
let before: number;
const opened: RemoteExport[] = [];
const servers: DiskServer[] = [];
const silent: Server[] = [];

beforeEach(() => {
  scene = makeScene();
  run = join(scene.run, 'private');
  mkdirSync(run);
  // As that of a machine.
  if (isRoot) chownSync(run, NOBODY, NOBODY);
  for (const path of [scene.base, scene.run]) chmodSync(path, 0o711);
  abort = new AbortController();
  before = openFiles();
});
afterEach(async () => {
  await Promise.all(opened.splice(0).map((one) => one.stop()));
  await Promise.all(servers.splice(0).map((one) => one.stop()));
  for (const server of silent.splice(0)) server.close();
  // Nothing is left of its directory, and no descriptor.
  expect(readdirSync(scene.run)).toEqual(['private']);
  // Node.js closes the descriptor of a socket after the socket.
  await eventually(() => openFiles() === before);
  scene.remove();
});

async function serve(flags: readonly string[] = []): Promise<string> {
  const image = rawImage(join(scene.root, 'disk.img'), SIZE);
  writeFileSync(image, 'the first bytes', { flag: 'r+' });
  const server = await nbdkit(image, { flags });
  servers.push(server);
  return server.address;
}

function source(address: string, more: Partial<RemoteSource> = {}): RemoteSource {
  const [host = '', port] = address.split(':');
  const there: RemoteServer = { transport: 'tcp', host, port: Number(port) };
  return { protocol: 'nbd', servers: [there], name: '', username: undefined, secret: undefined, ...more };
}

async function open(from: RemoteSource, writable = false): Promise<RemoteExport> {
  const roots = { directories: [scene.root] };
  const one = await openRemoteExport(from, {
    ...{ name: 'drive0', writable, roots, runDirectory: run, qemuBinary: QEMU, signal: abort.signal },
  });
  opened.push(one);
  return one;
}

/** Runs qemu-io on a new connection, without any other means to reach the drive. */
async function qemuIo(from: RemoteExport, command: string, readOnly = true): Promise<string> {
  const socket = await from.connect();
  const image = `driver=nbd,server.type=fd,server.str=3,export=bytes`;
  const { stdout, stderr } = spawnSync('qemu-io', [...(readOnly ? ['-r'] : []), '-c', command, '--image-opts', image], {
    stdio: ['ignore', 'pipe', 'pipe', socket.fd],
    encoding: 'utf8',
  });
  socket.close();
  return stdout + stderr;
}

/** The processes that serve drives, as this process sees them. */
function daemons(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'latin1').startsWith('/usr/bin/qemu-storage-daemon');
      } catch {
        return false;
      }
    });
}

describe('the bytes of a remote drive', () => {
  it('are provided on a socket, to one qemu after another', async () => {
    const one = await open(source(await serve()));
    expect(one.size).toBe(BigInt(SIZE));
    for (let turn = 0; turn < 2; turn++) expect(await qemuIo(one, 'read -v 0 16')).toMatch(/the.first.bytes/);
    expect(await qemuIo(one, 'write 0 512', false)).toMatch(/read-only|denied/i);
  });

  it('are written only if the drive is writable', async () => {
    const one = await open(source(await serve()), true);
    expect(await qemuIo(one, 'write -P 120 0 512', false)).toContain('wrote 512/512 bytes');
    expect(readFileSync(join(scene.root, 'disk.img')).subarray(0, 512).toString()).toBe('x'.repeat(512));
  });

  it('come from a process that has the network, and nothing else of the host', async () => {
    const known = daemons();
    await open(source(await serve()));
    const [pid = 0] = daemons().filter((one) => !known.includes(one));
    const space = (name: string, of: number | string): string => readlinkSync(`/proc/${of}/ns/${name}`);
    expect(space('net', pid)).toBe(space('net', 'self'));
    for (const name of ['mnt', 'pid', 'ipc']) expect(space(name, pid)).not.toBe(space(name, 'self'));
    const status = readFileSync(`/proc/${pid}/status`, 'latin1');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(status).toMatch(new RegExp(`^${set}:\\s*0+$`, 'm'));
    expect(status).toMatch(/^NoNewPrivs:\s*1$/m);
    expect(existsSync(`/proc/${pid}/root${run}`)).toBe(false);
    expect(existsSync(`/proc/${pid}/root/etc/passwd`)).toBe(false);
  });

  it('need no secret on a command line, and leave none in a file', async () => {
    const port = await closedPort();
    const secret = 'open, "sesame"\\';
    const failed = await errorOf(
      open(source(`127.0.0.1:${port}`, { protocol: 'http', name: '/disk.img', username: 'ali', secret })),
    );
    expect(failed.message).toContain(`http drive 'ali@127.0.0.1:${port}/disk.img' cannot be opened: `);
    expect(failed.message).not.toMatch(/sesame|Secret|secret/);
  });

  it('are refused with the reason when their server cannot be reached', async () => {
    const failed = await errorOf(open(source(`127.0.0.1:${await closedPort()}`)));
    expect(failed).toMatchObject({ reason: 'IMAGE_UNUSABLE' });
    expect(failed.message).toMatch(/nbd drive '127.0.0.1:\d+' cannot be opened: .*Connection refused/);
  });

  it('are refused where they would need a Unix socket that the program must not make', async () => {
    const server = createServer().listen(join(scene.root, 'socket'));
    silent.push(server);
    await once(server, 'listening');
    overrideIsolation({ kind: 'landlock', as: isRoot ? 'root' : 'user', reason: 'a test' });
    try {
      const failed = await errorOf(
        open(source('', { servers: [{ transport: 'unix', path: join(scene.root, 'socket') }] })),
      );
      expect(failed.message).toMatch(/^nbd drive 'unix:.*socket' is on a Unix socket, .* on this host: .*on a port$/);
      expect(failed.reason).toBe('ENOTSUP');
    } finally {
      overrideIsolation(undefined);
    }
  });

  it('are given up with the call', async () => {
    const { port } = await silence();
    setTimeout(() => abort.abort(new Error('given up')), 500);
    await expect(open(source(`127.0.0.1:${port}`))).rejects.toThrow('given up');
  });

  it('are asked for at eight servers at most at the same time for a client', async () => {
    const { port, most } = await silence();
    setTimeout(() => abort.abort(new Error('given up')), 3000);
    const all = await Promise.allSettled(Array.from({ length: 12 }, () => open(source(`127.0.0.1:${port}`))));
    expect(all.map(({ status }) => status)).toEqual(Array(12).fill('rejected'));
    expect(most()).toBe(8);
  });

  it('do not wait for those of another client whose servers do not answer', async () => {
    const { port, most } = await silence();
    const address = await serve();
    onBehalfOf('patient', abort.signal);
    const all = Promise.allSettled(Array.from({ length: 12 }, () => open(source(`127.0.0.1:${port}`))));
    await eventually(() => most() === 8);
    const other = abortController();
    onBehalfOf('other', other.signal);
    const options = {
      ...{ name: 'drive1', writable: false, roots: { directories: [scene.root] }, runDirectory: run, qemuBinary: QEMU },
    };
    const one = await openRemoteExport(source(address), { ...options, signal: other.signal });
    opened.push(one);
    expect(one.size).toBe(BigInt(SIZE));
    expect(most()).toBe(8);
    abort.abort(new Error('given up'));
    await all;
  });

  it('end with the drive, and with the process that provides them', async () => {
    const known = daemons();
    const one = await open(source(await serve()));
    expect(daemons().length).toBe(known.length + 1);
    await one.stop();
    await one.stop();
    expect(daemons()).toEqual(known);
  });
});

/** A port on which nobody listens. */
async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A server that accepts and never answers. */
async function silence(): Promise<{ readonly port: number; most(): number }> {
  let connected = 0;
  let most = 0;
  const server = createServer((socket) => {
    most = Math.max(most, (connected += 1));
    socket.on('error', () => undefined);
    socket.once('close', () => (connected -= 1));
    socket.resume();
  }).listen(0, '127.0.0.1');
  silent.push(server);
  await new Promise((resolve) => server.once('listening', resolve));
  return { port: (server.address() as AddressInfo).port, most: () => most };
}
