/** The API stays compatible with the released one, and breaking changes are detected. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { root } from './sourceTree.js';

const RELEASED = join(root, 'test/fixtures/released-api.binpb');
const MOUNT = 'proto/guestfs/v1/mount.proto';

let copy = '';
beforeAll(() => {
  copy = mkdtempSync(join(tmpdir(), 'guestfs-grpc-api-'));
});
afterAll(() => rmSync(copy, { recursive: true }));

/** buf's report on the API after a change to one of its files; empty if nothing breaks. */
function broken(file: string, change: (text: string) => string): string {
  for (const name of ['proto', 'buf.yaml'])
    cpSync(join(root, name), join(copy, name), { recursive: true, force: true });
  const before = readFileSync(join(root, file), 'utf8');
  const after = change(before);
  writeFileSync(join(copy, file), after);
  const buf = join(root, 'node_modules/.bin/buf');
  const { status, stdout, stderr } = spawnSync(process.execPath, [buf, 'breaking', '--against', RELEASED], {
    cwd: copy,
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  expect(status === 0).toBe(stdout === '');
  return stdout;
}

/** The text with one part replaced, which has to exist. */
const replaced = (from: string, to: string) => (text: string) => {
  expect(text).toContain(from);
  return text.replace(from, to);
};

describe('the API', () => {
  it('unchanged breaks nothing', () => {
    expect(broken(MOUNT, (text) => text)).toBe('');
  });

  it('may grow', () => {
    const grown = replaced('message MountRequest {', 'message MountRequest {\n  // New.\n  string more = 99;\n');
    expect(broken(MOUNT, grown)).toBe('');
  });

  it.each([
    [
      'a field that is renumbered',
      replaced('string mountpoint = 2;', 'string mountpoint = 3;'),
      /field "2" with name "mountpoint".*was deleted/,
    ],
    ['a field of another type', replaced('string mountpoint = 2;', 'bytes mountpoint = 2;'), /type from "string"/],
    ['a removed RPC', replaced('rpc Mount(', 'rpc Mounted('), /RPC "Mount"/],
  ])('breaks by %s', (_what, change, failure) => {
    expect(broken(MOUNT, change)).toMatch(failure);
  });
});
