import { describe, expect, it } from '@jest/globals';
import { blockNodesOf, type DriveNodes, type NodeFile, type NodeLink } from '../../../src/images/blockNodes.js';

const file = (path: string, kind: NodeFile['kind'] = 'file'): NodeFile => ({ path, kind });
const link = (path: string, format: NodeLink['format'], data?: string): NodeLink => ({
  file: file(path),
  format,
  dataFile: data === undefined ? undefined : file(data),
});
const settings = { cacheMode: 'writeback', discard: 'disable', copyOnRead: false } as const;

function nodes(
  chain: NodeLink[],
  drive: Partial<DriveNodes['drive']> = {},
  overlay?: string,
): Record<string, unknown>[] {
  return blockNodesOf({
    prefix: 'drive0',
    chain,
    overlay: overlay === undefined ? undefined : file(overlay),
    drive: { ...settings, ...drive },
  });
}

const SAFE = { direct: false, 'no-flush': false };
const UNSAFE = { direct: false, 'no-flush': true };

describe('a writable drive', () => {
  it('raw', () => {
    expect(nodes([link('/1', 'raw')])).toEqual([
      { driver: 'file', 'node-name': 'drive0-file', filename: '/1', 'read-only': false, locking: 'on', cache: SAFE },
      { driver: 'raw', 'node-name': 'drive0', file: 'drive0-file', 'read-only': false, cache: SAFE },
    ]);
  });

  it('qcow2 without a backing file states that explicitly', () => {
    expect(nodes([link('/1', 'qcow2')]).at(-1)).toEqual({
      driver: 'qcow2',
      'node-name': 'drive0',
      file: 'drive0-file',
      backing: null,
      'read-only': false,
      cache: SAFE,
    });
  });

  it('a chain: its backing images are read-only, and locked against writers', () => {
    expect(nodes([link('/1', 'qcow2', '/2'), link('/3', 'qcow2', '/4'), link('/5', 'raw')])).toEqual([
      { driver: 'file', 'node-name': 'drive0-backing2-file', filename: '/5', 'read-only': true, locking: 'on' },
      { driver: 'raw', 'node-name': 'drive0-backing2', file: 'drive0-backing2-file', 'read-only': true },
      { driver: 'file', 'node-name': 'drive0-backing1-file', filename: '/3', 'read-only': true, locking: 'on' },
      { driver: 'file', 'node-name': 'drive0-backing1-file-data', filename: '/4', 'read-only': true, locking: 'on' },
      {
        driver: 'qcow2',
        'node-name': 'drive0-backing1',
        file: 'drive0-backing1-file',
        'data-file': 'drive0-backing1-file-data',
        backing: 'drive0-backing2',
        'read-only': true,
      },
      { driver: 'file', 'node-name': 'drive0-file', filename: '/1', 'read-only': false, locking: 'on', cache: SAFE },
      {
        driver: 'file',
        'node-name': 'drive0-file-data',
        filename: '/2',
        'read-only': false,
        locking: 'on',
        cache: SAFE,
      },
      {
        driver: 'qcow2',
        'node-name': 'drive0',
        file: 'drive0-file',
        'data-file': 'drive0-file-data',
        backing: 'drive0-backing1',
        'read-only': false,
        cache: SAFE,
      },
    ]);
  });

  it('unsafe cache and discard apply down to the file', () => {
    for (const discard of ['enable', 'besteffort'] as const) {
      for (const node of nodes([link('/1', 'raw')], { cacheMode: 'unsafe', discard })) {
        expect(node).toMatchObject({ cache: UNSAFE, discard: 'unmap' });
      }
    }
  });

  it('copy-on-read is a node above the image', () => {
    expect(nodes([link('/1', 'qcow2')], { copyOnRead: true, discard: 'enable' }).slice(1)).toEqual([
      {
        driver: 'qcow2',
        'node-name': 'drive0-image',
        file: 'drive0-file',
        backing: null,
        'read-only': false,
        cache: SAFE,
        discard: 'unmap',
      },
      {
        driver: 'copy-on-read',
        'node-name': 'drive0',
        file: 'drive0-image',
        'read-only': false,
        cache: SAFE,
        discard: 'unmap',
      },
    ]);
  });

  it('a block device', () => {
    const [node] = blockNodesOf({
      prefix: 'x',
      chain: [{ file: file('/1', 'block'), format: 'raw', dataFile: undefined }],
      overlay: undefined,
      drive: settings,
    });
    expect(node).toMatchObject({ driver: 'host_device', 'node-name': 'x-file' });
  });
});

describe('a read-only drive', () => {
  it('has an overlay, and locks nothing', () => {
    expect(nodes([link('/1', 'qcow2'), link('/2', 'raw')], { copyOnRead: true, discard: 'besteffort' }, '/3')).toEqual([
      { driver: 'file', 'node-name': 'drive0-backing1-file', filename: '/2', 'read-only': true, locking: 'off' },
      { driver: 'raw', 'node-name': 'drive0-backing1', file: 'drive0-backing1-file', 'read-only': true },
      { driver: 'file', 'node-name': 'drive0-file', filename: '/1', 'read-only': true, locking: 'off' },
      {
        driver: 'qcow2',
        'node-name': 'drive0-image',
        file: 'drive0-file',
        backing: 'drive0-backing1',
        'read-only': true,
      },
      {
        driver: 'file',
        'node-name': 'drive0-overlay',
        filename: '/3',
        'read-only': false,
        locking: 'off',
        cache: UNSAFE,
      },
      {
        driver: 'qcow2',
        'node-name': 'drive0',
        file: 'drive0-overlay',
        backing: 'drive0-image',
        'read-only': false,
        cache: UNSAFE,
      },
    ]);
  });
});

describe('a drive without a local file', () => {
  const bytes = (head?: string) => ({
    node: (name: string, options: object) => ({ driver: 'nbd', 'node-name': name, ...options }),
    head: head === undefined ? undefined : file(head),
  });
  const nodesOf = (format: NodeLink['format'], head?: string, overlay?: string) =>
    blockNodesOf({
      prefix: 'drive0',
      chain: [{ file: bytes(head), format, dataFile: undefined }],
      overlay: overlay === undefined ? undefined : file(overlay),
      drive: settings,
    });

  it('has a node for them, without locks', () => {
    expect(nodesOf('raw')).toEqual([
      { driver: 'nbd', 'node-name': 'drive0-file', 'read-only': false, cache: SAFE },
      { driver: 'raw', 'node-name': 'drive0', file: 'drive0-file', 'read-only': false, cache: SAFE },
    ]);
  });

  it('has its first bytes from a copy, layered over them', () => {
    expect(nodesOf('qcow2', '/1', '/2')).toEqual([
      { driver: 'nbd', 'node-name': 'drive0-file-body', 'read-only': true },
      { driver: 'file', 'node-name': 'drive0-file-head', filename: '/1', 'read-only': true, locking: 'off' },
      {
        driver: 'qcow2',
        'node-name': 'drive0-file',
        file: 'drive0-file-head',
        backing: 'drive0-file-body',
        'read-only': true,
      },
      { driver: 'qcow2', 'node-name': 'drive0-image', file: 'drive0-file', backing: null, 'read-only': true },
      {
        driver: 'file',
        'node-name': 'drive0-overlay',
        filename: '/2',
        'read-only': false,
        locking: 'off',
        cache: UNSAFE,
      },
      {
        driver: 'qcow2',
        'node-name': 'drive0',
        file: 'drive0-overlay',
        backing: 'drive0-image',
        'read-only': false,
        cache: UNSAFE,
      },
    ]);
  });
});

it('node names stay under the 32 bytes that qemu allows, and are unique', () => {
  const chain = Array.from({ length: 32 }, (_, depth) => link(`/${depth}`, 'qcow2', `/d${depth}`));
  const all = blockNodesOf({ prefix: 'drive255', chain, overlay: file('/o'), drive: settings }).map(
    (node) => node['node-name'],
  );
  expect(Math.max(...all.map((name) => name.length))).toBeLessThan(32);
  expect(new Set(all).size).toBe(all.length);
});
