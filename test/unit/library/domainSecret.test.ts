/** The secrets of a domain's disks, from libvirt. */
import { expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { secretOf, type SecretReference } from '../../../src/library/domain/secret.js';

const UUID = '11111111-2222-3333-4444-555555555555';
/** A table in the form that `virsh --quiet` prints. */
const LIST = ` ${UUID.replaceAll('1', '9')}   ceph other\n ${UUID}   iscsi a target, with  spaces\n 00000000-0000-0000-0000-000000000000   Unused\n`;

const commands: string[][] = [];
function ask(value: string): (...args: readonly string[]) => Promise<string> {
  commands.length = 0;
  return (...args) => {
    commands.push([...args]);
    return Promise.resolve(args[0] === 'secret-list' ? LIST : `${value}\n`);
  };
}
const reference = (more: Partial<SecretReference>): SecretReference => ({
  type: 'iscsi',
  uuid: undefined,
  usage: undefined,
  ...more,
});
const encoded = Buffer.from('sesäme "1"').toString('base64');

it('is found by its UUID, and is text', async () => {
  expect(await secretOf(ask(encoded), reference({ uuid: UUID, usage: 'other' }))).toBe('sesäme "1"');
  expect(commands).toEqual([['secret-get-value', `--secret=${UUID}`]]);
});

it('is found by its usage', async () => {
  expect(await secretOf(ask(encoded), reference({ usage: 'a target, with  spaces' }))).toBe('sesäme "1"');
  expect(commands.at(-1)).toEqual(['secret-get-value', `--secret=${UUID}`]);
});

it('stays in base64 if it is a Ceph key', async () => {
  expect(await secretOf(ask('/+8='), reference({ type: 'ceph', usage: 'other' }))).toBe('/+8=');
  expect(commands.at(-1)).toEqual(['secret-get-value', `--secret=${UUID.replaceAll('1', '9')}`]);
});

it.each([
  ['a UUID that is an option', { uuid: '--help' }, 'EINVAL', encoded],
  ['no reference', {}, 'EINVAL', encoded],
  ['a use that no secret has', { usage: 'a target' }, 'ENOENT', encoded],
  ['the use of another type', { type: 'ceph', usage: 'a target, with  spaces' }, 'ENOENT', encoded],
  ['bytes that are no text', { uuid: UUID }, 'ENOTSUP', '/+8='],
])('is not found with %s', async (_what, more, reason, value) => {
  const error = await secretOf(ask(value), reference(more)).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(GuestfsError);
  expect(error).toMatchObject({ reason });
  expect(`${(error as Error).message} ${String((error as Error).cause)}`).not.toMatch(/ses|\/\+8/);
});
