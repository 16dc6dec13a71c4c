import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { inspectionActions } from '../../../src/library/inspection.js';
import { inTurn } from './fakes.js';

/** A file of a guest: the output of `file` for it, and its size. */
interface GuestFile {
  readonly description?: string;
  readonly size?: number;
}
const PNG = 'PNG image data, 32 x 32, 8-bit/color RGBA, non-interlaced';

function guest(
  type: string,
  distro: string,
  files: Readonly<Record<string, GuestFile>>,
  version = '1.0',
  answers: object = {},
): ReturnType<typeof inTurn> {
  const [major, minor] = version.split('.').map(Number);
  const known = (path: string): GuestFile => {
    const found = files[path];
    if (found === undefined) throw new GuestfsError('ENOENT', `${path}: No such file or directory`);
    return found;
  };
  return inTurn('inspect_get_icon', {
    answers: {
      inspect_get_type: { name: type },
      inspect_get_distro: { distro },
      inspect_get_major_version: { major },
      inspect_get_minor_version: { minor },
      inspect_get_windows_systemroot: { systemroot: '/Windows' },
      case_sensitive_path: ({ path }: { path: string }) => ({ rpath: path.replace('/etc/', '/Etc/') }),
      is_file: ({ path }: { path: string }) => ({ fileflag: path in files }),
      realpath: ({ path }: { path: string }) => ({ rpath: path }),
      file: ({ path }: { path: string }) => ({ description: known(path).description ?? PNG }),
      filesize: ({ file }: { file: string }) => ({ size: BigInt(known(file).size ?? 100) }),
      debug: { result: Buffer.from('convertedcomplete').toString('base64') },
      ...answers,
    },
    files: { download: ({ remotefilename }: { remotefilename: string }) => [Buffer.from(remotefilename)] },
  });
}

/** The path of the chosen icon, which is also its content in these guests. */
async function iconOf(
  context: ReturnType<typeof inTurn>,
  options: { favicon?: boolean; highquality?: boolean } = {},
): Promise<string> {
  return (await inspectionActions.inspect_get_icon(context, { root: '/dev/sda1', ...options })).icon.toString();
}

/** The script that the appliance should run. */
function scriptOf(context: ReturnType<typeof inTurn>): string {
  const request = context.daemon.sent.find(({ action }) => action === 'debug')?.request as
    | { subcmd: string; extraargs: string[] }
    | undefined;
  expect(request?.subcmd).toBe('sh');
  return request?.extraargs.join(' ') ?? '';
}

describe('inspect_get_icon', () => {
  const FAVICON = { '/etc/favicon.png': {} };
  const DEBIAN = { '/usr/share/pixmaps/debian-logo.png': {} };

  it('prefers a favicon, unless it is excluded or its quality is too low', async () => {
    const context = (): ReturnType<typeof inTurn> => guest('linux', 'debian', { ...FAVICON, ...DEBIAN });
    expect(await iconOf(context())).toBe('/etc/favicon.png');
    expect(await iconOf(context(), { favicon: false })).toBe('/usr/share/pixmaps/debian-logo.png');
    expect(await iconOf(context(), { highquality: true })).toBe('/usr/share/pixmaps/debian-logo.png');
  });

  it.each([
    ['fedora', '40.0', '/usr/share/icons/hicolor/96x96/apps/fedora-logo-icon.png'],
    ['centos', '6.9', '/usr/share/pixmaps/redhat/shadowman-transparent.png'],
    ['rocky', '9.1', '/usr/share/icons/hicolor/96x96/apps/system-logo-icon.png'],
    ['opensuse', '15.5', '/usr/share/icons/hicolor/24x24/apps/distributor.png'],
    ['ubuntu', '22.04', '/usr/share/help/C/ubuntu-help/figures/ubuntu-logo.png'],
  ])('finds that of %s %s', async (distro, version, path) => {
    expect(await iconOf(guest('linux', distro, { [path]: {} }, version))).toBe(path);
  });

  it('finds none of high quality for Ubuntu', async () => {
    expect(
      await iconOf(guest('linux', 'ubuntu', { '/usr/share/icons/gnome/24x24/places/ubuntu-logo.png': {} }), {
        highquality: true,
      }),
    ).toBe('');
  });

  it.each([
    ['not a PNG', { description: 'JPEG image data' }],
    ['too small in pixels', { description: 'PNG image data, 15 x 32, x' }],
    ['too large in pixels', { description: 'PNG image data, 32 x 1025, x' }],
    ['without pixels', { description: 'PNG image data, broken' }],
    ['too large for its pixels', { size: 32 * 32 * 4 + 1 }],
  ])('does not accept a file that is %s', async (_what, file) => {
    expect(await iconOf(guest('linux', 'archlinux', { '/etc/favicon.png': file }))).toBe('');
  });

  it('accepts one as large as its pixels allow', async () => {
    expect(await iconOf(guest('linux', 'archlinux', { '/etc/favicon.png': { size: 32 * 32 * 4 } }))).toBe(
      '/etc/favicon.png',
    );
  });

  it('finds paths of Windows regardless of case', async () => {
    expect(await iconOf(guest('windows', 'windows', { '/Etc/favicon.png': {} }, '10.0'))).toBe('/Etc/favicon.png');
    const windows8 = '/ProgramData/Microsoft/Windows Live/WLive48x48.png';
    expect(await iconOf(guest('windows', 'windows', { [windows8]: {} }, '6.2'))).toBe(windows8);
    expect(await iconOf(guest('windows', 'windows', { [windows8]: { size: 8193 } }, '6.2'))).toBe('');
    expect(await iconOf(guest('windows', 'windows', { [windows8]: {} }, '6.1'))).toBe('');
    expect(await iconOf(guest('windows', 'windows', { [windows8]: {} }, '6.2'), { highquality: true })).toBe('');
  });

  const XP = { '/Windows/explorer.exe': {} };
  const LOGO = '/usr/share/cirros/logo';
  const CIRROS = { [LOGO]: { description: 'ASCII text', size: 1024 } };

  it.each([
    [
      'Windows XP',
      'windows',
      '5.1',
      XP,
      `wrestool -x --type=2 --name=143 "$root"'/Windows/explorer.exe'`,
      ['bmptopnm', 'pnmtopng'],
    ],
    [
      'Windows 7',
      'windows',
      '6.1',
      XP,
      `wrestool -x --type=2 --name=6801 "$root"'/Windows/explorer.exe'`,
      ['bmptopnm', 'pamcut -bottom 54', 'pnmtopng'],
    ],
    [
      'Windows 7 of 64 bits',
      'windows',
      '6.1',
      { ...XP, '/Windows/SysWOW64/explorer.exe': {} },
      `wrestool -x --type=2 --name=6801 "$root"'/Windows/SysWOW64/explorer.exe'`,
      ['bmptopnm', 'pamcut -bottom 54', 'pnmtopng'],
    ],
    ['CirrOS', 'cirros', '0.6', CIRROS, `pbmtext <"$root"'${LOGO}'`, ['pnmtopng']],
  ] as const)('has that of %s converted in the appliance', async (_name, distro, version, files, first, others) => {
    const context = guest(distro === 'windows' ? 'windows' : 'linux', distro, files, version);
    expect(await iconOf(context)).toBe('converted');
    expect(scriptOf(context)).toContain(
      `{ ${[first, ...others].map((command) => `timeout -s KILL 30 ${command}`).join(' | ')} && printf complete; }`,
    );
    expect(context.daemon.actions).not.toContain('download');
  });

  it('converts it if a large one is requested and it is drawn, but not if it is small', async () => {
    expect(await iconOf(guest('linux', 'cirros', CIRROS), { highquality: true })).toBe('converted');
    expect(await iconOf(guest('windows', 'windows', XP, '5.1'), { highquality: true })).toBe('');
  });

  it.each([
    ['Windows XP without an explorer', 'windows', '5.1', {}],
    ['Windows 7 without an explorer', 'windows', '6.1', {}],
    ['Windows XP with a large one', 'windows', '5.1', { '/Windows/explorer.exe': { size: 4_000_001 } }],
    ['Windows Server 2003', 'windows', '5.2', XP],
    ['Windows Vista', 'windows', '6.0', XP],
    ['Windows 10', 'windows', '10.0', XP],
    ['CirrOS without a logo', 'cirros', '0.6', {}],
    ['CirrOS with a long text', 'cirros', '0.6', { [LOGO]: { description: 'ASCII text', size: 1025 } }],
    ['CirrOS with a picture', 'cirros', '0.6', { [LOGO]: { description: PNG } }],
  ])('runs nothing for %s', async (_name, distro, version, files) => {
    const context = guest(distro === 'windows' ? 'windows' : 'linux', distro, files, version);
    expect(await iconOf(context)).toBe('');
    expect(context.daemon.actions).not.toContain('debug');
  });

  it('refers to files by their real path, whatever that is', async () => {
    const real = `/opt/it's "$(id)"\n/logo`;
    const context = guest('linux', 'cirros', { ...CIRROS, [real]: { description: 'ASCII text' } }, '0.6', {
      realpath: { rpath: real },
    });
    expect(await iconOf(context)).toBe('converted');
    expect(scriptOf(context)).toContain(`pbmtext <"$root"'/opt/it'\\''s "$(id)"\n/logo'`);
  });

  it.each([
    ['nothing', ''],
    ['nothing but the end', Buffer.from('complete').toString('base64')],
    ['what was cut', Buffer.from('convert').toString('base64')],
    ['words', 'sh: 1: base64: not found'],
  ])('has none if the result is %s', async (_what, result) => {
    expect(await iconOf(guest('windows', 'windows', XP, '5.1', { debug: { result } }))).toBe('');
  });

  it('fails when the appliance runs nothing', async () => {
    const failure = new GuestfsError('DAEMON_ERROR', 'fork: Cannot allocate memory');
    await expect(iconOf(guest('windows', 'windows', XP, '5.1', { debug: failure }))).rejects.toThrow(failure);
  });
});
