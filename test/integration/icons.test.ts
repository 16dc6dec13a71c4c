/** Icons that are made in the appliance, of what is in real images. */
import { beforeAll, describe, expect, it } from '@jest/globals';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { cirros, oldWindows } from '../support/guests/convertedIcons.js';
import { makeGuest } from '../support/guests/guest.js';
import { programWithBitmaps, type Picture } from '../support/guests/programWithBitmaps.js';
import { pixelsOf } from '../support/png.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { imageDrive, type SessionClient } from '../support/testClient.js';

/** No two pixels of it are the same, so that an icon of it needs no palette. */
const gradient = (width: number, height: number, blue: number): Picture =>
  Array.from({ length: height }, (_row, y) =>
    Array.from({ length: width }, (_pixel, x) => [x * 3, y * 2, blue] as const),
  );

const XP_ICON = gradient(50, 48, 100);
const ICON_OF_7 = gradient(33, 108, 150);
const OTHER_ICON = gradient(33, 108, 200);
/** The upper 55 rows. */
const upper = (picture: Picture): Picture => picture.slice(0, 55);
const bitmap = (number: number, picture: Picture): Buffer => programWithBitmaps(new Map([[number, picture]]));

/** A program with a bitmap whose stated width is 65536 times the real one. */
function absurdlyWide(): Buffer {
  const program = bitmap(143, XP_ICON);
  const size = program.indexOf(Buffer.from([50, 0, 0, 0, 48, 0, 0, 0]));
  program.writeUInt16LE(50, size + 2);
  return program;
}

const LOGO = '/usr/share/cirros/logo';
const LETTER_L = [
  '###     ',
  ' #      ',
  ' #      ',
  ' #      ',
  ' #      ',
  ' #      ',
  ' #      ',
  ' #   #  ',
  '######  ',
];

const guests = [
  oldWindows('Windows XP', '5.1', {
    'Explorer.EXE': programWithBitmaps(
      new Map([
        [142, OTHER_ICON],
        [143, XP_ICON],
      ]),
    ),
  }),
  oldWindows('Windows 7', '6.1', {
    'explorer.exe': bitmap(6801, OTHER_ICON),
    'syswow64/explorer.exe': bitmap(6801, ICON_OF_7),
  }),
  cirros({ [LOGO]: 'L\n' }),
];
const ROOTS = { xp: '/dev/sda1', seven: '/dev/sdb1', cirros: '/dev/sdc' } as const;

/** The dark pixels, without the margin. */
function drawn(picture: Picture): string[] {
  const lines = picture.map((row) => row.map(([red]) => (red === 0 ? '#' : ' ')).join(''));
  const used = lines.filter((line) => line.includes('#'));
  const left = Math.min(...used.map((line) => line.indexOf('#')));
  return used.map((line) => line.slice(left, left + 8));
}

describe.each(['trixie', 'bookworm'])('icons with the appliance of %s', (suite) => {
  describeWhen(
    'icons',
    builtAppliance(suite) === undefined ? `there is no appliance: npm run appliance -- --suite ${suite}` : undefined,
    () => {
      const scene = serverForTests(() => ({ flags: ['--appliance', builtAppliance(suite) ?? '', '--debug-service'] }));
      let session: SessionClient;

      beforeAll(async () => {
        const drives = [];
        for (const guest of guests)
          drives.push(imageDrive(await makeGuest(scene.client, scene.server.images, guest), { writable: false }));
        session = await launchSession(scene.client, drives);
        expect([...((await session.call('inspect_os')) as string[])].sort()).toEqual(Object.values(ROOTS));
      });

      const mounted = async (root: string): Promise<void> => {
        await session.call('umount_all');
        await session.call('mount', { mountable: root, mountpoint: '/' });
      };
      const iconOf = (root: string, options: object = {}): Promise<Buffer> =>
        session.call('inspect_get_icon', { root, ...options });

      it('has the bitmap of Windows XP', async () => {
        await mounted(ROOTS.xp);
        expect(pixelsOf(await iconOf(ROOTS.xp))).toEqual(XP_ICON);
        expect(await iconOf(ROOTS.xp, { highquality: true })).toHaveLength(0);
      });

      it('has none when the tools are not there', async () => {
        await mounted(ROOTS.xp);
        await session.call('debug', { subcmd: 'sh', extraargs: ['mv /usr/bin/wrestool /usr/bin/wrestool.away'] });
        expect(await iconOf(ROOTS.xp)).toHaveLength(0);
        await session.call('debug', { subcmd: 'sh', extraargs: ['mv /usr/bin/wrestool.away /usr/bin/wrestool'] });
        expect(await iconOf(ROOTS.xp)).not.toHaveLength(0);
      });

      it('has one half of the bitmap of Windows 7, of the 32-bit program first', async () => {
        await mounted(ROOTS.seven);
        expect(pixelsOf(await iconOf(ROOTS.seven))).toEqual(upper(ICON_OF_7));
        await session.call('rm_rf', { path: '/WINDOWS/syswow64' });
        expect(pixelsOf(await iconOf(ROOTS.seven))).toEqual(upper(OTHER_ICON));
      });

      it('draws the text of CirrOS', async () => {
        await mounted(ROOTS.cirros);
        expect(drawn(pixelsOf(await iconOf(ROOTS.cirros)))).toEqual(LETTER_L);
        expect(drawn(pixelsOf(await iconOf(ROOTS.cirros, { highquality: true })))).toEqual(LETTER_L);
      });

      it('prefers a favicon', async () => {
        const icon = await iconOf(ROOTS.cirros);
        await session.call('write', { path: '/etc/favicon.png', content: icon });
        await session.call('write', { path: LOGO, content: Buffer.from('something else\n') });
        expect((await iconOf(ROOTS.cirros)).equals(icon)).toBe(true);
        expect((await iconOf(ROOTS.cirros, { favicon: false })).equals(icon)).toBe(false);
        await session.call('rm', { path: '/etc/favicon.png' });
      });

      it('is not led out of the guest, by links and names', async () => {
        await mounted(ROOTS.cirros);
        await session.call('mkdir_p', { path: '/usr/share' });
        await session.call('rm_rf', { path: '/usr/share/cirros' });
        // What a shell could make of the name would be run in the appliance.
        const name = `/opt/a"b$(touch /tmp/led-out)\`touch /tmp/led-out\`'; touch /tmp/led-out #\n-caf\uefe9`;
        await session.call('mkdir_p', { path: name });
        await session.call('write', { path: `${name}/logo`, content: Buffer.from('L\n') });
        await session.call('ln_s', { target: `../../..${name}`, linkname: '/usr/share/cirros' });
        expect(drawn(pixelsOf(await iconOf(ROOTS.cirros)))).toEqual(LETTER_L);
        expect(
          await session.call('debug', { subcmd: 'sh', extraargs: ['ls -d /tmp/led-out 2>/dev/null || echo none'] }),
        ).toBe('none');

        // A file of the appliance, which the guest does not have.
        await session.call('rm', { path: '/usr/share/cirros' });
        await session.call('debug', {
          subcmd: 'sh',
          extraargs: ['mkdir -p /tmp/outside && echo L >/tmp/outside/logo'],
        });
        await session.call('ln_s', { target: '/tmp/outside', linkname: '/usr/share/cirros' });
        expect(await iconOf(ROOTS.cirros)).toHaveLength(0);
      });

      it('has none of what is no icon', async () => {
        await mounted(ROOTS.xp);
        const explorer = '/WINDOWS/Explorer.EXE';
        const contents: readonly (readonly [string, Buffer])[] = [
          ['without a bitmap of the number', bitmap(144, XP_ICON)],
          ['cut before its bitmaps', bitmap(143, XP_ICON).subarray(0, 600)],
          ['absurdly wide', absurdlyWide()],
          ['no program', Buffer.from('MZ')],
          ['empty', Buffer.alloc(0)],
          ['too large', Buffer.concat([bitmap(143, XP_ICON), Buffer.alloc(4_000_000)])],
        ];
        for (const [what, content] of contents) {
          await session.call('write', { path: explorer, content: content.subarray(0, 1_000_000) });
          if (content.length > 1_000_000)
            await session.call('truncate_size', { path: explorer, size: BigInt(content.length) });
          expect([what, (await iconOf(ROOTS.xp)).length]).toEqual([what, 0]);
        }
        await session.call('rm', { path: explorer });
        expect(await iconOf(ROOTS.xp)).toHaveLength(0);
      });
    },
  );
});
