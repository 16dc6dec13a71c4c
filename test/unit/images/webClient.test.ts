/** Drives on web servers, good ones and those that fail, in all the ways in which they do. */
import { spawn, type ChildProcess } from 'node:child_process';
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { openRemoteExport, type RemoteExport } from '../../../src/images/remoteExport.js';
import type { RemoteSource, WebProtocol } from '../../../src/images/remoteSource.js';
import { describeWhen } from '../../support/appliance.js';
import { makeAuthority, makeCertificate, trust } from '../../support/certificates.js';
import { ftpsServer } from '../../support/diskServers.js';
import { eventually } from '../../support/eventually.js';
import { faultyWebServer, type Fault, type FaultyWebServer } from '../../support/faultyWebServer.js';
import { errorOf, makeScene, openFiles, type Scene } from './scene.js';

// A request may take 20 s.
jest.setTimeout(90_000);
const NOBODY = 65534;
const isRoot = process.geteuid?.() === 0;
/** No whole sectors. */
const SIZE = (3 << 20) + 100;
const WORDS_AT = 2 << 20;
/** Longer than a request may take. */
const PATIENCE_MS = 40_000;
const LIMIT = /did not answer within 20 s/;

let scene: Scene;
let run: string;
let before: number;
let web: FaultyWebServer;
const abort = new AbortController();
const opened: RemoteExport[] = [];
const running: ChildProcess[] = [];
const content = Buffer.alloc(SIZE, 'x');
content.write('what is in the image', WORDS_AT);

beforeEach(async () => {
  scene = makeScene();
  run = join(scene.run, 'private');
  mkdirSync(run);
  // As that of a machine.
  if (isRoot) chownSync(run, NOBODY, NOBODY);
  for (const path of [scene.base, scene.run]) chmodSync(path, 0o711);
  before = openFiles();
  web = await faultyWebServer(content);
});
afterEach(async () => {
  await Promise.all(
    running.splice(0).map(async (child) => {
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    }),
  );
  await Promise.all(opened.splice(0).map((one) => one.stop()));
  await web.stop();
  expect(readdirSync(scene.run)).toEqual(['private']);
  // Node.js closes the descriptor of a socket after the socket.
  await eventually(() => openFiles() === before);
  scene.remove();
});

async function open(
  protocol: WebProtocol = 'http',
  more: Partial<RemoteSource> = {},
  address = web.address,
): Promise<RemoteExport> {
  const [host = '', port] = address.split(':');
  const servers = [{ transport: 'tcp', host, port: Number(port) }] as const;
  const source = { protocol, servers, name: '/a disk', username: undefined, secret: undefined, ...more };
  const one = await openRemoteExport(source, {
    ...{ name: 'drive0', writable: false, roots: { directories: [scene.root] }, runDirectory: run },
    ...{ qemuBinary: 'qemu-system-x86_64', signal: abort.signal },
  });
  opened.push(one);
  return one;
}

/** A qemu-io that stays connected; each call runs a command and returns what it prints. */
async function connected(from: RemoteExport): Promise<(command: string) => Promise<string>> {
  const socket = await from.connect();
  const child = spawn('qemu-io', ['-r', '--image-opts', 'driver=nbd,server.type=fd,server.str=3'], {
    stdio: ['pipe', 'pipe', 'pipe', socket.fd],
  });
  socket.close();
  running.push(child);
  let printed = '';
  for (const output of [child.stdout, child.stderr])
    output?.on('data', (bytes: Buffer) => (printed += bytes.toString()));
  const prompt = /qemu-io> $/;
  await eventually(() => prompt.test(printed));
  return async (command) => {
    printed = '';
    child.stdin?.write(`${command}\n`);
    await eventually(() => prompt.test(printed), PATIENCE_MS);
    return printed;
  };
}

const READ_WORDS = `read -v ${WORDS_AT} 20`;
const readWords = async (from: RemoteExport): Promise<string> => (await connected(from))(READ_WORDS);
const WORDS = /what.is.in.the.i/;

describe('a drive on a web server', () => {
  it('has the size of the file in whole sectors, and its content', async () => {
    const one = await open();
    expect(one.size).toBe(BigInt((3 << 20) + 512));
    const read = await connected(one);
    expect(await read(READ_WORDS)).toMatch(WORDS);
    expect(await read(`read -P 120 ${SIZE - 100} 100`)).toContain('read 100/100 bytes');
  });

  it('is read with a user and a password that are on no command line', async () => {
    const secret = 'open, "sesame"\\ %$`\'';
    web.login = { user: 'ali', password: secret };
    const refused = await errorOf(open('http', { username: 'ali', secret: 'guessed' }));
    expect(refused.message).toMatch(/^http drive 'ali@127.*\/a disk' cannot be opened: .*401/);
    expect(refused.message).not.toContain('guessed');
    expect(await readWords(await open('http', { username: 'ali', secret }))).toMatch(WORDS);
  });

  it.each<[string, Fault, RegExp]>([
    ['does not have the file', { kind: 'status', code: 404 }, /404/],
    ['forbids it', { kind: 'status', code: 403 }, /403/],
    ['fails', { kind: 'status', code: 503 }, /503/],
    ['cannot send parts of a file', { kind: 'no ranges' }, /range/],
    ['redirects to itself', { kind: 'redirect', to: '/disk' }, /redirect|response headers/],
    ['redirects to a file of this host', { kind: 'redirect', to: 'file:///etc/passwd' }, /protocol .?file/i],
    ['redirects to another protocol', { kind: 'redirect', to: 'gopher://127.0.0.1/' }, /protocol .?gopher/i],
    ['never answers', { kind: 'silent' }, LIMIT],
  ])('that %s is refused with its address and the reason', async (_what, fault, reason) => {
    web.fault = fault;
    const refused = await errorOf(open());
    expect(refused.reason).toBe('IMAGE_UNUSABLE');
    expect(refused.message).toContain(`http drive '${web.address}/a disk' cannot be opened: `);
    expect(refused.message).toMatch(reason);
  });

  it('that redirects to another server is read from there', async () => {
    const other = await faultyWebServer(content);
    web.fault = { kind: 'redirect', to: `http://${other.address}/elsewhere` };
    expect(await readWords(await open())).toMatch(WORDS);
    expect(other.requests()).toBeGreaterThan(0);
    await other.stop();
  });

  it.each<Fault>([{ kind: 'silent' }, { kind: 'stalls' }, { kind: 'breaks' }, { kind: 'status', code: 500 }])(
    'that fails later causes an I/O error, and is read again when it is back: $kind',
    async (fault) => {
      const read = await connected(await open());
      web.fault = fault;
      expect(await read(READ_WORDS)).toMatch(/read failed: Input\/output error/);
      web.fault = { kind: 'none' };
      expect(await read(READ_WORDS)).toMatch(WORDS);
    },
  );
});

describeWhen('a drive on a web server with TLS', isRoot ? undefined : 'it takes root', () => {
  it('is refused where it redirects to a server without TLS', async () => {
    const directory = scene.root;
    const authority = makeAuthority(directory);
    const trusted = trust(authority);
    const plain = web;
    web = await faultyWebServer(content, makeCertificate(directory, authority, 'IP:127.0.0.1'));
    try {
      expect(await readWords(await open('https'))).toMatch(WORDS);
      web.fault = { kind: 'redirect', to: `http://${plain.address}/disk` };
      expect((await errorOf(open('https'))).message).toMatch(/protocol .?http/i);
      expect(plain.requests()).toBe(0);
    } finally {
      rmSync(trusted);
      await plain.stop();
    }
  });
});

const hasVsftpd = ['/usr/sbin', ...(process.env['PATH'] ?? '').split(':')].some((directory) =>
  existsSync(join(directory, 'vsftpd')),
);
const whyNoFtps = isRoot ? (hasVsftpd ? undefined : 'vsftpd is not installed') : 'it takes root';

describeWhen('a drive on a server of FTPS', whyNoFtps, () => {
  it('is read if its certificate is trusted, and otherwise refused', async () => {
    const authority = makeAuthority(scene.root);
    const certificate = makeCertificate(scene.root, authority, 'IP:127.0.0.1');
    writeFileSync(join(scene.root, 'a disk'), content, { mode: 0o644 });
    chmodSync(scene.root, 0o755);
    const server = await ftpsServer(scene.root, join(scene.base, 'ftps'), certificate);
    let trusted: string | undefined;
    try {
      const refused = await errorOf(open('ftps', {}, server.address));
      expect(refused.message).toMatch(/^ftps drive '127.*\/a disk' cannot be opened: .*certificate/);
      trusted = trust(authority);
      expect(await readWords(await open('ftps', {}, server.address))).toMatch(WORDS);
    } finally {
      if (trusted !== undefined) rmSync(trusted);
      await Promise.all(opened.splice(0).map((one) => one.stop()));
      await server.stop();
    }
  });
});
