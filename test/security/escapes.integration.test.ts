/**
 * Escapes: a path, or the header of an image, leads to a file that the client may not use. Each is tried with every
 * call that takes a file of the host, on a server with default flags, on one with permissions, and on one whose clients
 * have identities. Files outside are watched: their contents and sizes must not become known, and they must not even be
 * read.
 *
 * `npm test -- security` tries everything on all three. A complete run of the tests tries each escape with each call on
 * one of them: the servers take turns, so that every call is tried on all of them, with different escapes.
 */
import { describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { DOORS, leakedPaths, outcomeOf, type Door } from './doors.js';
import { groundForTests, SETTINGS, type Ground, type Setting } from './grounds.js';
import { HEADER_ESCAPES } from './headerEscapes.js';
import { OWN_NAMES } from './ownNames.js';
import { PATH_ESCAPES } from './pathEscapes.js';

const isRoot = process.getuid?.() === 0;
const complete = process.env['GUESTFS_GRPC_ALL_ESCAPES'] === '1';

/** The doors of one server for the escape with this number. */
function doorsOf(setting: Setting, escape: number, doors: readonly Door[] = DOORS): readonly Door[] {
  if (complete) return doors;
  const turn = SETTINGS.indexOf(setting);
  return doors.filter((_door, index) => (index + escape) % SETTINGS.length === turn);
}

/** Adds its number to each escape. */
function numbered<Escape extends object>(escapes: readonly Escape[]): (Escape & { readonly number: number })[] {
  return escapes.map((escape, number) => ({ ...escape, number }));
}

/**
 * Tries doors with a path; returns a list of what went wrong.
 *
 * @param expected how an attempt at a door may end
 * @param written what the client wrote itself, in the request and in the header of the image
 */
async function attempts(
  { visitor, place }: Ground,
  doors: readonly Door[],
  path: string,
  formats: readonly (string | undefined)[],
  expected: (door: Door) => readonly string[],
  written: readonly string[] = [],
): Promise<string[]> {
  const wrong: string[] = [];
  for (const door of doors) {
    for (const format of formats) {
      const { reason, text } = await outcomeOf(door.use(visitor, path, format));
      const complain = (what: string): number => wrong.push(`${door.name}, format ${format}: ${what}: ${text}`);
      if (!expected(door).includes(reason)) complain(`ended with ${reason}`);
      const learnt = place.learnt(text);
      if (learnt !== undefined) complain(`revealed '${learnt}'`);
      const leaked = leakedPaths(text, [path, ...written]);
      if (leaked.length > 0) complain(`revealed ${leaked.join(', ')}`);
      const touched = place.touched();
      if (touched !== '') complain(touched);
    }
  }
  return wrong;
}

describeWithAppliance('a file that a client may not use', () => {
  describe.each(SETTINGS)('on $name', (setting) => {
    const ground = groundForTests(setting);

    it.each(numbered(PATH_ESCAPES.filter(({ asRoot }) => isRoot || asRoot !== true)))(
      'cannot be reached by a path: $name',
      async ({ path, reasons, number }) => {
        const doors = doorsOf(setting, number);
        expect(await attempts(ground(), doors, path(ground().place), ['raw'], () => reasons)).toEqual([]);
      },
    );

    it.each(numbered(HEADER_ESCAPES))('cannot be reached by a header: $name', async ({ image, format, number }) => {
      const { place } = ground();
      const { path, written } = image(place);
      // The client knows the names in the headers of its own images.
      const known = [written, place.raw, place.qcow2];
      const { references } = setting;
      const expected = ({ kind }: Door): readonly string[] =>
        ({
          attach: references,
          // The image is only opened at the launch, or replaced, or its header is reported.
          name: ['answered'],
          ask: ['answered', 'IMAGE_UNUSABLE'],
          make: ['EEXIST'],
          // As raw, the image consists only of its bytes.
          refer: ['answered', ...references],
        })[kind];
      const keeping = DOORS.filter(({ name }) => !name.endsWith('overwrite'));
      const doors = doorsOf(setting, number, keeping);
      expect(await attempts(ground(), doors, path, [format, undefined], expected, known)).toEqual([]);
    });

    it.each(OWN_NAMES.map((name, number) => ({ name, number })))(
      "cannot be reached by a strange name of one of the client's own files: $name",
      async ({ name, number }) => {
        const { place } = ground();
        place.own(name);
        const withoutLaunch = DOORS.filter(({ kind, name: door }) => kind !== 'attach' || door.startsWith('hot'));
        const doors = doorsOf(setting, number, withoutLaunch);
        const expected = ({ kind, name: door }: Door): readonly string[] =>
          kind === 'make' && !door.endsWith('overwrite')
            ? ['EEXIST']
            : // To qemu, a colon in the name of a backing file marks a protocol.
              kind === 'refer'
              ? ['answered', 'IMAGE_UNUSABLE']
              : ['answered'];
        expect(await attempts(ground(), doors, name, ['raw'], expected)).toEqual([]);
      },
    );
  });
});
