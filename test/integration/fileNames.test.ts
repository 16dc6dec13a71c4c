/** Names of files are bytes: all that a guest can have are listed, and can be opened by the listed name. */
import { beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { scratchDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SLASH = '/'.charCodeAt(0);

interface Name {
  readonly what: string;
  /** The name in the guest. */
  readonly bytes: Buffer;
  /** As clients have it. */
  readonly text: string;
}

/** Each byte that a name can contain, in this order, is ASCII or not valid UTF-8: all from 0x80 are escaped. */
const everyByte = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1).filter((byte) => byte !== SLASH));
const everyByteAsText = Array.from(everyByte, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xef00 + byte)).join(
  '',
);

const NAMES: readonly Name[] = [
  { what: 'plain', bytes: Buffer.from('plain.txt'), text: 'plain.txt' },
  { what: 'UTF-8', bytes: Buffer.from('Grüße 你好 🎉'), text: 'Grüße 你好 🎉' },
  { what: 'Latin-1', bytes: Buffer.from('caf\xe9', 'latin1'), text: 'caf\uefe9' },
  {
    what: 'Latin-1 and UTF-8',
    bytes: Buffer.concat([Buffer.from('é'), Buffer.from([0xe9]), Buffer.from('é')]),
    text: 'é\uefe9é',
  },
  { what: 'cut UTF-8', bytes: Buffer.from([0xe4, 0xbd]), text: '\uefe4\uefbd' },
  { what: 'a surrogate in UTF-8', bytes: Buffer.from([0xed, 0xa0, 0x80]), text: '\uefed\uefa0\uef80' },
  { what: 'an overlong slash', bytes: Buffer.from([0xc0, 0xaf]), text: '\uefc0\uefaf' },
  // In UTF-8 that is EE BF A9. As \uefe9 it would be the byte E9.
  { what: 'U+EFE9 itself', bytes: Buffer.from('\uefe9'), text: '\uefee\uefbf\uefa9' },
  { what: 'the byte E9 alone', bytes: Buffer.from([0xe9]), text: '\uefe9' },
  { what: 'white space', bytes: Buffer.from(' line\nand\ttab '), text: ' line\nand\ttab ' },
  { what: 'every byte', bytes: everyByte, text: everyByteAsText },
];

/** Names that the guest sends with a NUL after each. */
function separated(bytes: Buffer): Buffer[] {
  const names: Buffer[] = [];
  for (let start = 0, end = bytes.indexOf(0); end >= 0; start = end + 1, end = bytes.indexOf(0, start))
    names.push(bytes.subarray(start, end));
  return names;
}

const hex = (names: readonly Buffer[]): string[] => names.map((name) => name.toString('hex')).sort();

describeWithAppliance('names of files', () => {
  const scene = serverForTests();
  let session: SessionClient;
  const expected = NAMES.map(({ text }) => text);

  beforeAll(async () => {
    session = await launchSession(scene.client, [scratchDrive(32 * MEBIBYTE)]);
    await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
    await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
    await session.call('mkdir', { path: '/names' });
  });

  it.each(NAMES)('$what: is created with these bytes', async ({ bytes, text, what }) => {
    await session.call('write', { path: `/names/${text}`, content: Buffer.from(what) });
    const there = separated(await session.download('ls0', { dir: '/names' }));
    expect(hex(there)).toContain(bytes.toString('hex'));
  });

  it('are listed as given by all listing actions', async () => {
    expect(hex(separated(await session.download('find0', { directory: '/names/' })))).toEqual(
      hex(NAMES.map(({ bytes }) => bytes)),
    );
    const sorted = [...expected].sort();
    const listed = async (action: string, request: object): Promise<string[]> =>
      [...((await session.call(action, request)) as string[])].sort();
    expect(await listed('ls', { directory: '/names' })).toEqual(sorted);
    expect(await listed('find', { directory: '/names/' })).toEqual(sorted);
    const entries = (await session.call('readdir', { dir: '/names' })) as { name: string }[];
    expect(
      entries
        .map(({ name }) => name)
        .filter((name) => name !== '.' && name !== '..')
        .sort(),
    ).toEqual(sorted);
    expect(await listed('glob_expand', { pattern: '/names/*' })).toEqual(sorted.map((name) => `/names/${name}`));
  });

  it('open by what was listed', async () => {
    const listed: string[] = await session.call('ls', { directory: '/names' });
    const lengths = (await session.call('lstatlist', { path: '/names', names: listed })) as { size: bigint }[];
    for (const [index, name] of listed.entries()) {
      const what = NAMES.find(({ text }) => text === name)?.what ?? '';
      expect(lengths[index]?.size).toBe(BigInt(what.length));
      expect(Buffer.from(await session.call('read_file', { path: `/names/${name}` })).toString()).toBe(what);
    }
  });

  it.each(NAMES)('$what: can be uploaded and downloaded', async ({ text }) => {
    const contents = Buffer.from(`contents of ${text}`);
    await session.upload('upload', { remotefilename: `/names/${text}` }, [contents]);
    expect(await session.download('download', { remotefilename: `/names/${text}` })).toEqual(contents);
  });

  it('are the targets of links', async () => {
    for (const { text } of NAMES)
      await session.call('ln_sf', { target: `names/${text}`, linkname: `/link-${text.slice(0, 60)}` });
    const links = expected.map((text) => `link-${text.slice(0, 60)}`);
    expect(await session.call('readlinklist', { path: '/', names: links })).toEqual(
      expected.map((text) => `names/${text}`),
    );
    for (const link of links)
      expect(await session.call('is_file', { path: `/${link}`, followsymlinks: true })).toBe(true);
  });

  it('leave by what was listed', async () => {
    for (const name of expected) await session.call('rm', { path: `/names/${name}` });
    expect(await session.call('ls', { directory: '/names' })).toEqual([]);
  });

  it('appear in errors as they are listed', async () => {
    expect((await session.failure('cat', { path: '/names/caf\uefe9' })).details).toContain('/names/caf\uefe9');
  });
});
