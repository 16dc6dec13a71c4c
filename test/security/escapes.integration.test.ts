/**
 * Escapes: a path, or the header of an image, leads out of what a client may use. Each through every call that takes a
 * file of the host, on servers as they are by default, with what can be allowed, and with clients who have identities.
 * Files outside are watched: what is in them, how large they are, and that nobody even reads them.
 */
import { describe, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { DOORS, leakedPaths, outcomeOf, type Door } from './doors.js';
import { groundForTests, SETTINGS, type Ground } from './grounds.js';
import { HEADER_ESCAPES } from './headerEscapes.js';
import { OWN_NAMES } from './ownNames.js';
import { PATH_ESCAPES } from './pathEscapes.js';

const isRoot = process.getuid?.() === 0;

/**
 * Tries doors with a path; returns what went wrong.
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
      if (learnt !== undefined) complain(`told of '${learnt}'`);
      const leaked = leakedPaths(text, [path, ...written]);
      if (leaked.length > 0) complain(`told of ${leaked.join(', ')}`);
      const touched = place.touched();
      if (touched !== '') complain(touched);
    }
  }
  return wrong;
}

describeWithAppliance('what a client names', () => {
  describe.each(SETTINGS)('on $name', (setting) => {
    const ground = groundForTests(setting);

    it.each(PATH_ESCAPES.filter(({ asRoot }) => isRoot || asRoot !== true))(
      'a path: $name',
      async ({ path, reasons }) => {
        expect(await attempts(ground(), DOORS, path(ground().place), ['raw'], () => reasons)).toEqual([]);
      },
    );

    it.each(HEADER_ESCAPES)('a header: $name', async ({ image, format }) => {
      const { place } = ground();
      const { path, written } = image(place);
      // What the headers of its own images name, the client knows.
      const known = [written, place.raw, place.qcow2];
      const { references } = setting;
      const expected = ({ kind }: Door): readonly string[] =>
        ({
          attach: references,
          // It is opened at the launch, or replaced, or asked what it says of itself.
          name: ['answered'],
          ask: ['answered', 'IMAGE_UNUSABLE'],
          make: ['EEXIST'],
          // As raw, the image is no more than its bytes.
          refer: ['answered', ...references],
        })[kind];
      const doors = DOORS.filter(({ name }) => !name.endsWith('overwrite'));
      expect(await attempts(ground(), doors, path, [format, undefined], expected, known)).toEqual([]);
    });

    it.each(OWN_NAMES)('a strange name of a file of its own: %j', async (name) => {
      const { place } = ground();
      place.own(name);
      const doors = DOORS.filter(({ kind, name: door }) => kind !== 'attach' || door.startsWith('hot'));
      const expected = ({ kind, name: door }: Door): readonly string[] =>
        kind === 'make' && !door.endsWith('overwrite')
          ? ['EEXIST']
          : // A colon in the name of a backing file means a protocol to qemu.
            kind === 'refer'
            ? ['answered', 'IMAGE_UNUSABLE']
            : ['answered'];
      expect(await attempts(ground(), doors, name, ['raw'], expected)).toEqual([]);
    });
  });
});
