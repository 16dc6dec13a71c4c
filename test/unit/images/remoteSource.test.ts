import { createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { drivesFromRequest, type AddDriveOptions } from '../../../src/images/addDriveRequest.js';
import { remoteNode } from '../../../src/images/remoteNodes.js';
import { remoteSubject, remoteUrl, type RemoteSource } from '../../../src/images/remoteSource.js';
import { errorOf, makeScene, rawImage, type Scene } from './scene.js';

let scene: Scene;
beforeEach(() => {
  scene = makeScene();
});
afterEach(() => scene.remove());

async function sourceOf(filename: string, options: AddDriveOptions): Promise<RemoteSource> {
  const [drive] = await drivesFromRequest(filename, options, { directories: [scene.root] });
  expect(drive?.format).toBe('raw');
  if (drive?.source.kind !== 'remote') throw new Error('not a remote drive');
  return drive.source.remote;
}
const nodeOf = (source: RemoteSource): object =>
  remoteNode(
    source,
    'n',
    { secretId: source.secret === undefined ? undefined : 's', socketFor: () => 'n-0.sock' },
    { 'read-only': true },
  );

describe('a remote drive', () => {
  // What libguestfs writes as one string is on the left of each.
  it.each<[string, string, AddDriveOptions, object]>([
    [
      'nbd:host:10809',
      '',
      { protocol: 'nbd', server: ['host'] },
      { driver: 'nbd', server: { type: 'inet', host: 'host', port: '10809' } },
    ],
    [
      'nbd:1.2.3.4:1:exportname=a b',
      'a b',
      { protocol: 'nbd', server: ['tcp:1.2.3.4:1'] },
      { driver: 'nbd', server: { type: 'inet', host: '1.2.3.4', port: '1' }, export: 'a b' },
    ],
    [
      'nbd:[::1]:2',
      '',
      { protocol: 'nbd', server: ['[::1]:2'] },
      { driver: 'nbd', server: { type: 'inet', host: '::1', port: '2' } },
    ],
    [
      'ssh://u@host/x',
      '/x',
      { protocol: 'ssh', server: ['host'], username: 'u' },
      {
        driver: 'ssh',
        server: { host: 'host', port: '22' },
        path: '/x',
        user: 'u',
        'host-key-check': { mode: 'known_hosts' },
      },
    ],
    [
      'iscsi://u%p@host:3260/iqn:disk/1',
      'iqn:disk/1',
      { protocol: 'iscsi', server: ['host:3260'], username: 'u', secret: 'p' },
      {
        driver: 'iscsi',
        transport: 'tcp',
        portal: 'host:3260',
        target: 'iqn:disk',
        lun: 1,
        user: 'u',
        'password-secret': 's',
      },
    ],
    [
      'rbd:pool/disk:auth_supported=none',
      'pool/disk',
      { protocol: 'rbd' },
      { driver: 'rbd', pool: 'pool', image: 'disk', 'auth-client-required': ['none'] },
    ],
    [
      'rbd:pool/ns/disk@snap:mon_host=a\\:1\\;b\\:2:id=u:auth_supported=cephx\\;none:key=QUFB',
      'pool/ns/disk@snap',
      { protocol: 'rbd', server: ['a:1', 'b:2'], username: 'u', secret: 'QUFB' },
      {
        driver: 'rbd',
        pool: 'pool',
        namespace: 'ns',
        image: 'disk',
        snapshot: 'snap',
        user: 'u',
        'auth-client-required': ['cephx', 'none'],
        'key-secret': 's',
        server: [
          { host: 'a', port: '1' },
          { host: 'b', port: '2' },
        ],
      },
    ],
    [
      'gluster://host/volume/a/b',
      'volume/a/b',
      { protocol: 'gluster', server: ['host'] },
      { driver: 'gluster', volume: 'volume', path: 'a/b', server: [{ type: 'inet', host: 'host', port: '24007' }] },
    ],
  ])('is the one that libguestfs writes as %s', async (_text, filename, options, node) => {
    expect(nodeOf(await sourceOf(filename, options))).toEqual({ 'node-name': 'n', 'read-only': true, ...node });
  });

  it.each<[string, string, AddDriveOptions]>([
    ['http://host/a%20b%3F%23%25', '/a b?#%', { protocol: 'http', server: ['host'] }],
    ['https://[fe80::1]:8443/x', '/x', { protocol: 'https', server: ['[fe80::1]:8443'], username: 'u', secret: 'p' }],
    ['ftps://host/x', '/x', { protocol: 'ftps', server: ['host'], username: 'u' }],
  ])('on a web server has a URL without user and password: %s', async (url, filename, options) => {
    expect(remoteUrl(await sourceOf(filename, { ...options, readonly: true }))).toBe(url);
  });

  it('can be behind a socket under an image root', async () => {
    const path = join(scene.root, 'a.sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    expect(nodeOf(await sourceOf('', { protocol: 'nbd', server: ['unix:a.sock'] }))).toMatchObject({
      server: { type: 'unix', path: 'n-0.sock' },
    });
    await new Promise((resolve) => server.close(resolve));
  });

  it.each<[string, string, AddDriveOptions, string, string]>([
    ['no server', '', { protocol: 'nbd' }, 'server', 'exactly one server'],
    ['two servers', '/x', { protocol: 'ssh', server: ['a', 'b'] }, 'server', 'exactly one server'],
    [
      'a username for nbd',
      '',
      { protocol: 'nbd', server: ['a'], username: 'u' },
      'username',
      'cannot specify a username',
    ],
    [
      'a secret for gluster',
      'v/x',
      { protocol: 'gluster', server: ['a'], secret: 'hidden' },
      'secret',
      'cannot specify a secret',
    ],
    ['a relative path', 'x', { protocol: 'http', server: ['a'], readonly: true }, 'filename', "begin with a '/'"],
    ['an empty path', '', { protocol: 'ssh', server: ['a'] }, 'filename', 'empty string'],
    ['an empty username', '/x', { protocol: 'ssh', server: ['a'], username: '' }, 'username', 'empty string'],
    ['an absolute target', '/x', { protocol: 'iscsi', server: ['a'] }, 'filename', "must not begin with a '/'"],
    ['a monitor without a port', 'p/i', { protocol: 'rbd', server: ['a'] }, 'server', 'port number must be specified'],
    ['an invalid key', 'p/i', { protocol: 'rbd', username: 'u', secret: 'hidden!' }, 'secret', 'base64'],
    ['an image without a pool', 'i', { protocol: 'rbd' }, 'filename', 'pool'],
    ['a port out of range', '', { protocol: 'nbd', server: ['a:65536'] }, 'server', 'invalid port number'],
    ['a host that is an option', '', { protocol: 'nbd', server: ['-x'] }, 'server', 'invalid hostname'],
    [
      'a host with a slash',
      '/x',
      { protocol: 'http', server: ['a/b@c'], readonly: true },
      'server',
      'invalid hostname',
    ],
    ['an empty socket', '', { protocol: 'nbd', server: ['unix:'] }, 'server', 'missing Unix domain socket path'],
    [
      'a long path',
      `/${'x'.repeat(4096)}`,
      { protocol: 'http', server: ['a'], readonly: true },
      'filename',
      '4096 bytes',
    ],
    [
      'a password of two lines',
      '/x',
      { protocol: 'ftp', server: ['a'], username: 'u', secret: 'hidden\n', readonly: true },
      'secret',
      'one line',
    ],
    ['writing over http', '/x', { protocol: 'http', server: ['a'] }, 'readonly', 'read only'],
    ['sheepdog', 'x', { protocol: 'sheepdog', server: ['a'] }, 'protocol', 'any more'],
  ])('is refused with %s', async (_what, filename, options, field, words) => {
    const error = await errorOf(sourceOf(filename, options));
    expect(error).toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: expect.stringContaining(words),
      details: { fields: [{ field }] },
    });
    expect(error.message).not.toContain('hidden');
  });

  it('accepts only TCP where the protocol supports nothing else', async () => {
    rawImage(join(scene.root, 'a.img'), 512);
    expect(await errorOf(sourceOf('/x', { protocol: 'ssh', server: ['unix:a.img'] }))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
    });
    expect(await errorOf(sourceOf('', { protocol: 'nbd', server: ['unix:/etc/passwd'] }))).toMatchObject({
      reason: 'OUTSIDE_IMAGE_ROOTS',
    });
  });

  it('is named without its secret', async () => {
    expect(
      remoteSubject(
        await sourceOf('iqn:disk', { protocol: 'iscsi', server: ['host:1'], username: 'u', secret: 'hidden' }),
      ),
    ).toBe("iscsi drive 'u@host:1/iqn:disk'");
  });
});
