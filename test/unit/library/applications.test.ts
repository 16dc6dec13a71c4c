import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  splitVersion,
  sorted,
  ApplicationList,
  MAX_APPLICATIONS,
} from '../../../src/library/applications/application.js';
import { parseApkDatabase } from '../../../src/library/applications/apk.js';
import { parseDpkgStatus } from '../../../src/library/applications/deb.js';
import { parsePacmanDescription } from '../../../src/library/applications/pacman.js';
import { listPackages, type PackageFormat } from '../../../src/library/applications/index.js';
import { inspectionActions } from '../../../src/library/inspection.js';
import { fromLines, inTurn, type Script } from './fakes.js';

describe('splitVersion', () => {
  it.each([
    ['1.2', 0, '1.2', undefined],
    ['1.2-3', 0, '1.2', '3'],
    ['1:1.2-3-4', 1, '1.2', '3-4'],
    ['x:1-2', undefined, '1', '2'],
    ['-1:1', undefined, '1', undefined],
    [':1', undefined, '1', undefined],
    ['', 0, '', undefined],
    ['2147483647:1', 2147483647, '1', undefined],
    ['2147483648:1', undefined, '1', undefined],
    ['99999999999:1-2', undefined, '1', '2'],
  ])('of %j', (text, epoch, version, release) => {
    expect(splitVersion(text)).toEqual({ epoch, version, release });
  });
});

const STATUS = `Package: zsh
Status: install ok installed
Priority: optional
Architecture: amd64
Source: zsh-src (5.9)
Version: 3:5.9-4+b2
Depends: libc6 (>= 2.3)
Description: shell with lots of features
 Zsh is a command interpreter.
 .
 More of it.
Homepage: https://www.zsh.org/

Package: gone
Status: deinstall ok config-files
Version: 1.0-1
Conffiles:
 /etc/gone 0123

Package: bash
Status: install ok installed
Version: 5.2

Package: broken
Status: install ok installed
Version: a:1

Package: no-such-epoch
Status: install ok installed
Version: 99999999999:1

Package: nothing
Status: install ok installed

Version: 2
Status: install ok installed

Package: half
Status: install ok half-installed
Version: 1-2

Package: cut-off
Status: install ok installed
Version: 1
`;

describe('a status file of dpkg', () => {
  it('lists what is installed', async () => {
    const found = await parseDpkgStatus(fromLines(STATUS));
    expect(found.map((one) => [one.app2_name, one.app2_epoch, one.app2_version, one.app2_release])).toEqual([
      ['zsh', 3, '5.9', '4+b2'],
      ['bash', 0, '5.2', ''],
      ['half', 0, '1', '2'],
    ]);
    expect(found[0]).toMatchObject({
      app2_arch: 'amd64',
      app2_source_package: 'zsh-src',
      app2_url: 'https://www.zsh.org/',
      app2_summary: 'shell with lots of features',
      app2_description: 'Zsh is a command interpreter.\n.\nMore of it.',
      app2_display_name: '',
      app2_class: '',
    });
    expect(found[1]).toMatchObject({ app2_arch: '', app2_description: '', app2_summary: '' });
  });

  it('has descriptions of bounded length, whatever their lines', async () => {
    const described = (lines: number) =>
      parseDpkgStatus(
        (async function* () {
          await Promise.resolve();
          yield ['Package: x', 'Status: install ok installed', 'Version: 1', 'Description: y'];
          for (let at = 0; at < lines; at += 100) yield Array.from({ length: 100 }, () => ' ');
          yield [''];
        })(),
      );
    expect((await described(100_000))[0]?.app2_description).toBe('\n'.repeat(99_999));
    await expect(described(1_000_000)).rejects.toMatchObject({ reason: 'MESSAGE_TOO_LARGE' });
  });
});

describe('a database of apk', () => {
  it('lists what is installed', async () => {
    const found = await parseApkDatabase(
      fromLines(
        'C:Q1\nP:musl\nV:1.2.4-r1\nA:x86_64\nT:the musl c library\nU:https://musl.libc.org/\nnonsense\nF:lib\n\nP:old\nV:2:1.36\n\nP:noversion\n\nP:no-such-epoch\nV:99999999999:1\n\nP:cut-off\nV:1\n',
      ),
    );
    expect(found.map((one) => [one.app2_name, one.app2_epoch, one.app2_version, one.app2_release])).toEqual([
      ['musl', 0, '1.2.4', '1'],
      ['old', 2, '1.36', ''],
    ]);
    expect(found[0]).toMatchObject({
      app2_arch: 'x86_64',
      app2_description: 'the musl c library',
      app2_url: 'https://musl.libc.org/',
      app2_summary: '',
    });
  });
});

describe('a description of pacman', () => {
  const WHOLE =
    '%NAME%\ntest\n\n%VERSION%\n1:0.1-2\n\n%DESC%\nfirst line\nsecond line\n\n%URL%\nhttp://x/\n\n%ARCH%\nx86_64\n\n%LICENSE%\nGPL\n';

  it('describes a package', async () => {
    expect(await parsePacmanDescription(fromLines(WHOLE))).toEqual({
      name: 'test',
      epoch: 1,
      version: '0.1',
      release: '2',
      arch: 'x86_64',
      url: 'http://x/',
      description: 'first line',
    });
  });

  it.each([
    ['NAME', 'test'],
    ['ARCH', 'x86_64'],
    ['VERSION', '1:0.1-2'],
  ])('needs %s', async (section, value) => {
    expect(await parsePacmanDescription(fromLines(WHOLE.replace(`%${section}%\n${value}\n`, '')))).toBeUndefined();
  });

  it.each(['0.1', '-1', 'x:1-1', '0.1-', '99999999999:1-1'])(
    'needs a version in all its parts, unlike %s',
    async (version) => {
      expect(await parsePacmanDescription(fromLines(WHOLE.replace('1:0.1-2', version)))).toBeUndefined();
    },
  );
});

describe('lists', () => {
  it('are sorted by the bytes of names', () => {
    const list = new ApplicationList();
    for (const name of ['b', 'é', 'B', 'a', '\uefff', '😀']) list.add({ name });
    expect(sorted(list.applications).map((one) => one.app2_name)).toEqual(['B', 'a', 'b', 'é', '😀', '\uefff']);
  });

  it('have a bound', () => {
    const list = new ApplicationList();
    expect(() => {
      for (let index = 0; index < 40; index += 1) list.add({ name: 'x', description: 'y'.repeat(1 << 20) });
    }).toThrow(/Download/);
  });

  it('can contain those of a distribution, but not any number without text', async () => {
    const paragraphs = (count: number) =>
      parseApkDatabase(
        (async function* () {
          await Promise.resolve();
          for (let at = 0; at < count; at += 1) yield ['P:', 'V:', ''];
        })(),
      );
    expect(await paragraphs(MAX_APPLICATIONS)).toHaveLength(MAX_APPLICATIONS);
    await expect(paragraphs(MAX_APPLICATIONS + 1)).rejects.toMatchObject({
      reason: 'MESSAGE_TOO_LARGE',
      message: expect.stringMatching(/^the list of applications holds more than 262144 applications; use Download/),
    });
  });

  it('take no more memory than their content', () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    const used = (): number => {
      collectGarbage();
      return process.memoryUsage().heapUsed;
    };
    const before = used();
    const list = new ApplicationList();
    for (let index = 0; index < 4000; index += 1) list.add({ name: Buffer.alloc(16_384, 'x').toString().slice(0, 20) });
    expect(used() - before).toBeLessThan(16 << 20);
    expect(list.applications).toHaveLength(4000);
  });
});

describe('inspect_list_applications', () => {
  function guest(type: string, packageformat: string, more: Script = {}): ReturnType<typeof inTurn> {
    return inTurn('inspect_list_applications2', {
      ...more,
      answers: {
        inspect_get_type: { name: type },
        inspect_get_package_format: { packageformat },
        is_file: { fileflag: true },
        ...more.answers,
      },
    });
  }
  const root = '/dev/sda1';
  const size = (bytes: number) => ({ size: BigInt(bytes) });

  it('reads the file of dpkg', async () => {
    const context = guest('linux', 'deb', {
      answers: { filesize: size(STATUS.length) },
      files: { download: () => [Buffer.from(STATUS.slice(0, 100)), Buffer.from(STATUS.slice(100))] },
    });
    const { applications2 } = await inspectionActions.inspect_list_applications2(context, { root });
    expect(applications2.map((one) => one.app2_name)).toEqual(['bash', 'half', 'zsh']);
    expect(context.daemon.sent.at(-1)).toEqual({
      action: 'download',
      request: { remotefilename: '/var/lib/dpkg/status' },
    });
    const { applications } = await inspectionActions.inspect_list_applications(context, { root });
    expect(applications[2]).toEqual({
      app_name: 'zsh',
      app_display_name: '',
      app_epoch: 3,
      app_version: '5.9',
      app_release: '4+b2',
      app_install_path: '',
      app_trans_path: '',
      app_publisher: '',
      app_url: 'https://www.zsh.org/',
      app_source_package: 'zsh-src',
      app_summary: 'shell with lots of features',
      app_description: 'Zsh is a command interpreter.\n.\nMore of it.',
    });
  });

  it('does not read a file of dpkg that is too large', async () => {
    const context = guest('linux', 'deb', { answers: { filesize: size(50_000_001) } });
    await expect(inspectionActions.inspect_list_applications2(context, { root })).rejects.toThrow(
      /size of \/var\/lib\/dpkg\/status is unreasonably large/,
    );
  });

  it('lets the daemon read the database of rpm', async () => {
    const list = new ApplicationList();
    for (const name of ['b', 'a']) list.add({ name });
    const context = guest('linux', 'rpm', {
      answers: { internal_list_rpm_applications: { applications2: list.applications } },
    });
    expect(
      (await inspectionActions.inspect_list_applications2(context, { root })).applications2.map((one) => one.app2_name),
    ).toEqual(['a', 'b']);
  });

  it('reads a description of pacman for each package with a valid one', async () => {
    const entry = (name: string, ftyp: string) => ({ ino: 1n, name, ftyp });
    const context = guest('linux', 'pacman', {
      version: '1.48.0',
      answers: {
        readdir: {
          entries: [
            entry('.', 'd'),
            entry('..', 'd'),
            entry('ALPM_DB_VERSION', 'r'),
            entry('b-1-1', 'd'),
            entry('a-1-1', 'd'),
            entry('none', 'd'),
            entry('large', 'd'),
          ],
        },
        filesize: ({ file }: { file: string }) =>
          file.includes('/none/') ? new GuestfsError('ENOENT', 'no') : size(file.includes('/large/') ? 8193 : 100),
      },
      files: {
        download: ({ remotefilename }: { remotefilename: string }) => [
          Buffer.from(`%NAME%\n${remotefilename.split('/')[5]?.[0]}\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n`),
        ],
      },
    });
    expect(
      (await inspectionActions.inspect_list_applications2(context, { root })).applications2.map((one) => one.app2_name),
    ).toEqual(['a', 'b']);
  });

  it('does not collect an unlimited number of packages of pacman', async () => {
    const entries = Array.from({ length: MAX_APPLICATIONS + 1 }, () => ({ ino: 1n, name: 'x', ftyp: 'd' }));
    const context = guest('linux', 'pacman', { version: '1.48.0', answers: { readdir: { entries } } });
    await expect(inspectionActions.inspect_list_applications2(context, { root })).rejects.toMatchObject({
      reason: 'MESSAGE_TOO_LARGE',
    });
    expect(context.daemon.actions).not.toContain('filesize');
  });

  it.each([
    ['linux', 'portage'],
    ['linux', 'unknown'],
    ['freebsd', 'deb'],
    ['dos', 'unknown'],
  ])('finds none for %s with %s', async (type, format) => {
    expect(await inspectionActions.inspect_list_applications2(guest(type, format), { root })).toEqual({
      applications2: [],
    });
  });
});

describe('applications of Windows', () => {
  type Tree = { readonly [name: string]: Tree | string | Buffer };
  /** Numbers for the nodes and values of a tree, and the answers of a daemon that has it open. */
  function registry(tree: Tree): NonNullable<Script['answers']> {
    const things: (Tree | string | Buffer)[] = [tree];
    const names = new Map<bigint, string>();
    const handle = (thing: Tree | string | Buffer | undefined, name: string): bigint => {
      if (thing === undefined) return 0n;
      if (!things.includes(thing)) things.push(thing);
      const number = BigInt(things.indexOf(thing) + 1);
      names.set(number, name);
      return number;
    };
    const at = (number: bigint): Tree => things[Number(number) - 1] as Tree;
    const isNode = (thing: Tree | string | Buffer | undefined): thing is Tree =>
      typeof thing === 'object' && !Buffer.isBuffer(thing);
    return {
      inspect_get_type: { name: 'windows' },
      inspect_get_package_format: { packageformat: 'unknown' },
      inspect_get_windows_software_hive: { path: '/Windows/System32/config/SOFTWARE' },
      hivex_open: {},
      hivex_close: {},
      hivex_root: { nodeh: 1n },
      hivex_node_get_child: ({ nodeh, name }: { nodeh: bigint; name: string }) => ({
        child: handle(isNode(at(nodeh)[name]) ? at(nodeh)[name] : undefined, name),
      }),
      hivex_node_get_value: ({ nodeh, key }: { nodeh: bigint; key: string }) => ({
        valueh: isNode(at(nodeh)[key]) ? 0n : handle(at(nodeh)[key], key),
      }),
      hivex_node_children: ({ nodeh }: { nodeh: bigint }) => ({
        nodehs: Object.entries(at(nodeh))
          .filter(([, thing]) => isNode(thing))
          .map(([name, thing]) => ({ hivex_node_h: handle(thing, name) })),
      }),
      hivex_node_name: ({ nodeh }: { nodeh: bigint }) => ({ name: names.get(nodeh) }),
      hivex_value_string: ({ valueh }: { valueh: bigint }) =>
        typeof at(valueh) === 'string' ? { databuf: at(valueh) } : new GuestfsError('EINVAL', 'not a string'),
      hivex_value_value: ({ valueh }: { valueh: bigint }) => ({ databuf: at(valueh) }),
    };
  }
  const uninstall = (applications: Tree): Tree => ({
    Microsoft: { Windows: { CurrentVersion: { Uninstall: applications } } },
  });
  const list = async (answers: NonNullable<Script['answers']>): Promise<{ names: string[][]; actions: string[] }> => {
    const context = inTurn('inspect_list_applications2', { answers });
    const { applications2 } = await inspectionActions.inspect_list_applications2(context, { root: '/dev/sda2' });
    return {
      names: applications2.map((one) => [one.app2_name, one.app2_display_name, one.app2_version, one.app2_class]),
      actions: context.daemon.actions,
    };
  };

  it('are those with an uninstaller and a display name, both 32-bit and 64-bit', async () => {
    const { names, actions } = await list(
      registry({
        ...uninstall({
          two: {
            DisplayName: 'Two',
            DisplayVersion: '2.0',
            Publisher: 'P',
            InstallLocation: 'C:\\Two',
            URLInfoAbout: 'http://two/',
            Comments: 'c',
          },
          hidden: { DisplayVersion: '1' },
          one: { DisplayName: 'One', DisplayVersion: Buffer.from([1, 0, 0, 0]) },
          av: { DisplayName: 'Some AntiVirus 3' },
          symantec: { DisplayName: 'Security', Publisher: 'Norton Inc.' },
        }),
        WOW6432node: uninstall({ three: { DisplayName: 'Three' } }),
      }),
    );
    expect(names).toEqual([
      ['av', 'Some AntiVirus 3', '', 'antivirus'],
      ['one', 'One', '', ''],
      ['symantec', 'Security', '', 'antivirus'],
      ['three', 'Three', '', ''],
      ['two', 'Two', '2.0', ''],
    ]);
    expect(actions.filter((action) => action === 'hivex_open' || action === 'hivex_close')).toEqual([
      'hivex_open',
      'hivex_close',
    ]);
  });

  it.each([
    [{ 'Windows Defender': {} }, true],
    [{ 'Windows Defender': { DisableAntiVirus: Buffer.from([0, 0, 0, 0]) } }, true],
    [{ 'Windows Defender': { DisableAntiVirus: Buffer.from([1, 0, 0, 0]) } }, false],
    [{ 'Windows Defender': { DisableAntiVirus: Buffer.from([1]) } }, true],
    [{}, false],
  ])('Defender is one of them: %#', async (microsoft: Tree, expected) => {
    expect((await list(registry({ Microsoft: microsoft }))).names).toEqual(
      expected ? [['WinDefend', 'Microsoft Defender Antivirus', '', 'antivirus']] : [],
    );
  });

  it('are none if the hive has no root, and the hive is closed', async () => {
    const { names, actions } = await list({ ...registry({}), hivex_root: new GuestfsError('EINVAL', 'broken') });
    expect(names).toEqual([]);
    expect(actions.at(-1)).toBe('hivex_close');
  });

  it('an appliance that ends does not cause an empty list', async () => {
    await expect(
      list({ ...registry({}), hivex_root: new GuestfsError('OUTCOME_UNKNOWN', 'gone') }),
    ).rejects.toMatchObject({ reason: 'OUTCOME_UNKNOWN' });
  });
});

describe('packages for a report', () => {
  /** A guest with these files; a directory has no content. */
  async function packagesIn(
    format: PackageFormat,
    files: Readonly<Record<string, string | undefined>>,
  ): Promise<{ readonly names: readonly string[]; readonly notes: readonly string[] }> {
    const contentOf = (path: string): Buffer => {
      const content = files[path];
      if (content === undefined) throw new GuestfsError('ENOENT', `no ${path}`);
      return Buffer.from(content);
    };
    const directories = new Set(Object.keys(files).map((path) => path.split('/')[5]));
    const context = inTurn('inspect_list_applications2', {
      version: '1.48.0',
      answers: {
        is_file: ({ path }: { path: string }) => ({ fileflag: files[path] !== undefined }),
        glob_expand: { paths: Object.keys(files).filter((path) => path.startsWith('/var/lib/dpkg/status.d/')) },
        filesize: ({ file }: { file: string }) => ({ size: BigInt(contentOf(file).length) }),
        pread: ({ path, count, offset }: { path: string; count: number; offset: bigint }) => ({
          content: contentOf(path).subarray(Number(offset), Number(offset) + count),
        }),
        readdir: { entries: [...directories].map((name) => ({ ino: 1n, name, ftyp: 'd' })) },
      },
      files: { download: ({ remotefilename }: { remotefilename: string }) => [contentOf(remotefilename)] },
    });
    const { applications, notes } = await listPackages(context, format);
    return { names: applications.map((one) => one.app2_name), notes };
  }

  const STATUS_FILE = '/var/lib/dpkg/status';
  const debian = (name: string, state = 'install ok installed'): string =>
    `Package: ${name}\nStatus: ${state}\nVersion: 1-1\n`;

  it('include the last one, and say where a status file was cut off', async () => {
    expect(await packagesIn('deb', { [STATUS_FILE]: `${debian('a')}\n${debian('b')}` })).toEqual({
      names: ['a', 'b'],
      notes: [],
    });
    const cut = await packagesIn('deb', { [STATUS_FILE]: `${debian('a')}\n${debian('b')}\nPackage: c\nStat` });
    expect(cut.names).toEqual(['a', 'b']);
    expect(cut.notes).toEqual([expect.stringMatching(/^\/var\/lib\/dpkg\/status ends .*packages after b are missing/)]);
    expect((await packagesIn('deb', { [STATUS_FILE]: 'Pack' })).notes).toEqual([
      expect.stringContaining('packages after its start are missing'),
    ]);
    expect(await packagesIn('deb', { [STATUS_FILE]: '' })).toEqual({ names: [], notes: [] });
  });

  it('are read in spite of the line ends of Windows', async () => {
    const windows = (text: string): string => text.replaceAll('\n', '\r\n');
    expect((await packagesIn('deb', { [STATUS_FILE]: windows(`${debian('a')}\n${debian('b')}\n`) })).names).toEqual([
      'a',
      'b',
    ]);
    const installed = windows('P:musl\nV:1.2-r1\n\nP:zlib\nV:1.3-r0\n');
    expect(await packagesIn('apk', { '/lib/apk/db/installed': installed })).toEqual({
      names: ['musl', 'zlib'],
      notes: [],
    });
  });

  it('of dpkg are those whose files are there, whatever their state', async () => {
    const states = ['half-installed', 'unpacked', 'half-configured', 'triggers-awaited', 'triggers-pending'];
    const status = [
      ...states.map((state) => debian(state, `install ok ${state}`)),
      debian('removed', 'deinstall ok config-files'),
      debian('unknown', 'unknown ok not-installed'),
      debian('kept', 'hold ok installed'),
    ].join('\n');
    expect((await packagesIn('deb', { [STATUS_FILE]: status })).names).toEqual([...states, 'kept'].sort());
  });

  it('of dpkg can be in one file and in single ones, among which are others', async () => {
    const directory = `${STATUS_FILE}.d`;
    expect(
      await packagesIn('deb', {
        [STATUS_FILE]: debian('whole'),
        [`${directory}/tzdata`]: 'Package: tzdata\nVersion: 2025a-1\n',
        [`${directory}/tzdata.md5sums`]: 'nothing',
        [`${directory}/notes`]: 'no package',
        [`${directory}/directory`]: undefined,
      }),
    ).toEqual({
      names: ['tzdata', 'whole'],
      notes: [`${directory}/notes describes no package`, `${directory}/directory describes no package`],
    });
  });

  it('of apk include the last one, with a note on a database that was cut off', async () => {
    const path = '/lib/apk/db/installed';
    const cut = await packagesIn('apk', { [path]: 'P:musl\nV:1.2-r1\n\nP:zlib\nV:1.3-r0\nT:a compr' });
    expect(cut.names).toEqual(['musl', 'zlib']);
    expect(cut.notes).toEqual([expect.stringMatching(/^\/lib\/apk\/db\/installed ends .*after zlib are missing$/)]);
  });

  it('of pacman may have long descriptions; damaged ones are named', async () => {
    const database = '/var/lib/pacman/local';
    const description = (name: string): string => `%NAME%\n${name}\n\n%VERSION%\n1-1\n\n%ARCH%\nany\n\n`;
    expect(
      await packagesIn('pacman', {
        [`${database}/a-1-1/desc`]: description('a'),
        [`${database}/b-1-1/desc`]: `${description('b')}%REPLACES%\n${'other\n'.repeat(5000)}`,
        [`${database}/c-1-1/desc`]: '%NAME%\nc\n',
        [`${database}/d-1-1/desc`]: undefined,
      }),
    ).toEqual({
      names: ['a', 'b'],
      notes: ['c', 'd'].map((name) => expect.stringContaining(`${database}/${name}-1-1/desc is missing or damaged`)),
    });
  });
});
