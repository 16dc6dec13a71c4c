/** The drives of CreateSession and Inspect: the checks of add_drive, with the names of their own fields. */
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DriveSpec, RemoteDrive } from '../../../gen/proto/guestfs/v1/session.js';
import type { ImageRoots } from '../../../src/security/pathPolicy.js';
import { drivesOf } from '../../../src/server/driveSpecs.js';
import { errorOf, makeScene, rawImage, type Scene } from '../images/scene.js';

let scene: Scene;
beforeAll(() => {
  scene = makeScene();
  rawImage(join(scene.root, 'a.img'), 512);
});
afterAll(() => scene.remove());

const roots = (): ImageRoots => ({ directories: [scene.root] });
const spec = (source: DriveSpec['source'], more: Partial<DriveSpec> = {}): DriveSpec => ({
  source,
  format: undefined,
  writable: false,
  label: undefined,
  cachemode: undefined,
  discard: undefined,
  blocksize: undefined,
  backing_formats: [],
  ...more,
});
const remote = (given: Partial<RemoteDrive>, more: Partial<DriveSpec> = {}): DriveSpec =>
  spec(
    {
      $case: 'remote',
      value: { protocol: 'nbd', server: ['host'], filename: '', username: undefined, secret: undefined, ...given },
    },
    more,
  );
const file = (): DriveSpec => spec({ $case: 'path', value: 'a.img' });

describe('the drives of a request', () => {
  it('can be on the network, and are read-only unless writable is set', async () => {
    const drives = await drivesOf(
      [
        file(),
        remote({ filename: 'x' }),
        remote(
          { protocol: 'https', filename: '/a.qcow2', username: 'ali', secret: 'sesame' },
          { format: 'qcow2', label: 'net' },
        ),
        remote({ protocol: 'ssh', filename: '/a' }, { writable: true, cachemode: 'unsafe', blocksize: 4096 }),
      ],
      roots(),
    );
    expect(drives.slice(1)).toEqual([
      expect.objectContaining({
        source: {
          kind: 'remote',
          remote: {
            protocol: 'nbd',
            servers: [{ transport: 'tcp', host: 'host', port: undefined }],
            name: 'x',
            username: undefined,
            secret: undefined,
          },
          roots: roots(),
        },
        format: 'raw',
        readonly: true,
      }),
      expect.objectContaining({
        source: {
          kind: 'remote',
          remote: expect.objectContaining({ protocol: 'https', name: '/a.qcow2', username: 'ali', secret: 'sesame' }),
          roots: roots(),
        },
        format: 'qcow2',
        readonly: true,
        label: 'net',
      }),
      expect.objectContaining({ readonly: false, cacheMode: 'unsafe', blockSize: 4096 }),
    ]);
  });

  it.each<[string, Partial<RemoteDrive>, Partial<DriveSpec>, string]>([
    ['no protocol', { protocol: '' }, {}, 'remote.protocol'],
    ['an unknown protocol', { protocol: 'gopher' }, {}, 'remote.protocol'],
    ['files as a protocol', { protocol: 'file', server: [], filename: 'a.img' }, {}, 'remote.protocol'],
    ['no server', { server: [] }, {}, 'remote.server'],
    ['an invalid server', { server: ['-x'] }, {}, 'remote.server'],
    ['an invalid path', { protocol: 'ssh', filename: 'x' }, {}, 'remote.filename'],
    ['a NUL in the name', { filename: 'a\0' }, {}, 'remote.filename'],
    ['a username for a protocol without users', { username: 'hidden' }, {}, 'remote.username'],
    ['a secret for a protocol without secrets', { secret: 'hidden' }, {}, 'remote.secret'],
    ['an invalid key', { protocol: 'rbd', filename: 'p/i', server: [], secret: 'hidden!' }, {}, 'remote.secret'],
    ['writing over a read-only protocol', { protocol: 'http', filename: '/x' }, { writable: true }, 'writable'],
    ['a format that is not a word', {}, { format: 'raw,x=' }, 'format'],
    ['a label with digits', {}, { label: 'a1' }, 'label'],
  ])('are refused with %s, naming the field', async (_what, given, more, field) => {
    const error = await errorOf(drivesOf([file(), remote(given, more)], roots()));
    expect(error).toMatchObject({
      reason: 'BAD_ARGUMENT',
      message: expect.stringMatching(new RegExp(`^drives\\[1\\]: ${field.replace('.', '\\.')}: `)),
      details: { fields: [{ field: `drives[1].${field}` }] },
    });
    expect(JSON.stringify([error.message, error.details.fields])).not.toContain('hidden');
  });

  it('are counted before any of them is opened', async () => {
    const many = Array.from({ length: 256 }, () => spec({ $case: 'path', value: 'gone.img' }));
    expect(await errorOf(drivesOf(many, roots()))).toMatchObject({
      reason: 'BAD_ARGUMENT',
      details: { fields: [{ field: 'drives', description: expect.stringContaining('at most 255') }] },
    });
    expect(await errorOf(drivesOf(many.slice(1), roots()))).toMatchObject({ reason: 'IMAGE_MISSING' });
  });

  it('must have a source', async () => {
    expect(await errorOf(drivesOf([spec(undefined)], roots()))).toMatchObject({
      reason: 'BAD_ARGUMENT',
      details: { fields: [{ field: 'drives[0].source' }] },
    });
    expect(await errorOf(drivesOf([spec({ $case: 'scratch_size', value: 0n })], roots()))).toMatchObject({
      details: { fields: [{ field: 'drives[0].scratch_size' }] },
    });
  });
});
