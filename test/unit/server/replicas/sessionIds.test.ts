/** Session IDs that name their owner. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metadata } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { FORWARDED_HEADER, forwardedBy, forwardedHeader } from '../../../../src/server/replicas/forwarded.js';
import { idOf, isReplicaId, namesOwner, newRun, placeOf } from '../../../../src/server/replicas/sessionIds.js';
import { SessionKeys } from '../../../../src/server/replicas/sessionKeys.js';

const [OLD, NEW] = ['a'.repeat(32), 'b'.repeat(40)];

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-keys-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function keysOf(text: string): Promise<SessionKeys> {
  const path = join(directory, 'keys');
  writeFileSync(path, text);
  return SessionKeys.read(path);
}

describe('an ID', () => {
  it('names the session, its replica and the run of it, to all that have the key', async () => {
    const self = newRun('guestfs-0');
    const id = idOf(await keysOf(OLD), { ...self, name: 'my.build' }, 'uri:spiffe://a');
    expect(id).toMatch(/^my\.build\.guestfs-0\.[A-Za-z0-9_-]{8}\.[A-Za-z0-9_-]{16}$/);
    expect(placeOf(await keysOf(OLD), id, 'uri:spiffe://a')).toEqual({ ...self, name: 'my.build' });
  });

  it('of another identity, another key, or changed in any character is unknown', async () => {
    const keys = await keysOf(OLD);
    const id = idOf(keys, { ...newRun('r1'), name: 'one' }, 'cn:alice');
    const refused = 'its signature is not one of these servers';
    expect(() => placeOf(keys, id, 'cn:bob')).toThrow(refused);
    expect(() => placeOf(keys, id, undefined)).toThrow(refused);
    const other = await keysOf(NEW);
    expect(() => placeOf(other, id, 'cn:alice')).toThrow(refused);
    for (let at = 0; at < id.length; at++) {
      if (id[at] === '.') continue;
      const changed = id.slice(0, at) + (id[at] === 'x' ? 'y' : 'x') + id.slice(at + 1);
      expect(() => placeOf(keys, changed, 'cn:alice')).toThrow(refused);
    }
  });

  it('stays valid while its key is in the file, in whatever place', async () => {
    const place = { ...newRun('r1'), name: 'one' };
    const id = idOf(await keysOf(OLD), place, undefined);
    const both = await keysOf(`# the new one signs\n${NEW}\n${OLD}\n`);
    expect(placeOf(both, id, undefined)).toEqual(place);
    expect(placeOf(await keysOf(NEW), idOf(both, place, undefined), undefined)).toEqual(place);
    writeFileSync(join(directory, 'keys'), NEW);
    await both.reload();
    expect(() => placeOf(both, id, undefined)).toThrow('signature');
  });

  it('and what replicas tell each other do not depend on clocks', async () => {
    const keys = await keysOf(OLD);
    const self = newRun('r1');
    const clock = jest.spyOn(Date, 'now').mockReturnValue(Date.UTC(1990, 0));
    const id = idOf(keys, { ...self, name: 'one' }, 'cn:alice');
    const statement = { from: 'r1', to: newRun('r2'), identity: 'cn:alice', client: 'cn:alice' };
    const metadata = new Metadata();
    metadata.set(FORWARDED_HEADER, forwardedHeader(keys, statement));
    clock.mockReturnValue(Date.UTC(2090, 0));
    expect(placeOf(keys, id, 'cn:alice')).toEqual({ ...self, name: 'one' });
    expect(forwardedBy(keys, metadata)).toEqual(statement);
    clock.mockRestore();
  });

  it.each(['first', 'a.b.c', '0123456789abcdef0123456789abcdef', 'x.r.12345678.1234567890'])(
    'is not what %s is: that is a name',
    async (name) => {
      expect(namesOwner(name)).toBe(false);
      expect(placeOf(await keysOf(OLD), name, undefined)).toBeUndefined();
    },
  );
});

describe('a key file', () => {
  it.each([
    ['', 'it contains no keys'],
    ['# nothing\n\n', 'it contains no keys'],
    [`${OLD}\nshort`, 'key 2 has fewer than 32 characters'],
    [`${OLD}\n`.repeat(17), 'it contains 17 keys'],
  ])('that contains %j is refused', async (text, why) => {
    await expect(keysOf(text)).rejects.toThrow(why);
  });

  it('that cannot be reloaded leaves the keys as they are', async () => {
    const keys = await keysOf(OLD);
    const id = idOf(keys, { ...newRun('r1'), name: 'one' }, undefined);
    writeFileSync(join(directory, 'keys'), '');
    await expect(keys.reload()).rejects.toThrow('no keys');
    expect(placeOf(keys, id, undefined)?.name).toBe('one');
  });
});

describe('the ID of a replica', () => {
  it.each([
    ['guestfs-0', true],
    ['A_1', true],
    ['', false],
    ['a.b', false],
    ['x'.repeat(64), false],
  ])('%j: %p', (id, valid) => expect(isReplicaId(id)).toBe(valid));
});
