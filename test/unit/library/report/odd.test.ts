/** What reports read themselves: os-release, subvolumes, tables, formats of packages, package URLs. */
import { describe, expect, it } from '@jest/globals';
import { distroName, formatOf, managerFor } from '../../../../src/library/report/distros.js';
import { inspected } from '../../../../src/library/report/foundSystem.js';
import { mendConfigFiles } from '../../../../src/library/report/mending/configFiles.js';
import { deviceOf, mountWords } from '../../../../src/library/report/mending/culprit.js';
import { warnOfIncompleteGroups } from '../../../../src/library/report/incompleteGroups.js';
import { changeHive, REG_DWORD, REG_SZ } from '../../../../src/library/report/mending/hive.js';
import { soundValue } from '../../../../src/library/report/mending/windows.js';
import { resolveMountable } from '../../../../src/library/report/mountpoints.js';
import { packageUrl } from '../../../../src/library/report/packageUrl.js';
import { isPartOf } from '../../../../src/library/report/partOf.js';
import { parseRelease } from '../../../../src/library/report/release.js';
import { foldFamilies } from '../../../../src/library/report/snapshots.js';
import { Warnings } from '../../../../src/library/report/warnings.js';
import { application, daemonError, ScriptedActions } from './scriptedActions.js';

describe('os-release', () => {
  it('is read as a shell would', () => {
    expect(
      parseRelease(
        '# comment\nNAME="Some \\"Linux\\""\nID=some\nID_LIKE="rhel  fedora"\nVERSION="9 (Plow)"\nVERSION_ID=\'9.4\'\nSUPPORT_END=soon\nPRETTY_NAME=\n',
      ),
    ).toEqual({
      id: 'some',
      idLike: ['rhel', 'fedora'],
      prettyName: 'Some "Linux"',
      plainPrettyName: '',
      versionId: '9.4',
      codename: 'Plow',
      buildId: '',
      supportEnd: '',
    });
  });

  it('may be anything', () => {
    for (const text of ['', '=', 'ID', '\0'.repeat(100), 'ID="', 'ID=\'"', 'VERSION=((((((((('])
      expect(parseRelease(text).id.length).toBeLessThan(5);
  });
});

describe('fstab', () => {
  /** Mends a file, with a parser that accepts only these lines; the file, and the warnings. */
  async function mend(text: string, accepted: RegExp): Promise<{ file: string; messages: string[]; parses: number }> {
    let file: Buffer = Buffer.from(text);
    let parses = 0;
    const wrongLine = (): number =>
      file
        .toString('latin1')
        .split('\n')
        .findIndex((line) => line !== '' && !line.startsWith('#') && (line.includes('\0') || !accepted.test(line)));
    const actions = new ScriptedActions({
      is_file: ({ path }: { path: string }) => ({ fileflag: path === '/etc/fstab' }),
      aug_init: {},
      aug_rm: {},
      aug_load: () => {
        parses += 1;
        return {};
      },
      aug_close: {},
      aug_match: () => ({ matches: wrongLine() < 0 ? [] : ['error'] }),
      aug_get: ({ augpath }: { augpath: string }) => ({
        val: augpath.endsWith('/line') ? String(wrongLine() + 1) : 'no rule',
      }),
      pread: () => ({ content: file }),
      internal_write: ({ content }: { content: Buffer }) => {
        file = content;
        return {};
      },
    });
    const warnings = new Warnings();
    expect(await mendConfigFiles(actions, '/dev/sda', warnings)).toBe(warnings.list.length > 0);
    return { file: file.toString(), messages: warnings.list.map(({ message }) => message), parses };
  }
  const accepted = /^\S+ \S+ \S+ [^\s,]+(,[^\s,]+)* \d \d$/;

  it('with the line ends of Windows is read as if it had none', async () => {
    const { file, messages } = await mend('/dev/a / ext4 rw 0 1\r\n# b\r\n/dev/b /b ext4 rw 0 0\r\n', accepted);
    expect(file).toBe('/dev/a / ext4 rw 0 1\n# b\n/dev/b /b ext4 rw 0 0\n');
    expect(messages).toEqual([
      expect.stringContaining('/dev/sda: /etc/fstab, line 1, is read as "/dev/a / ext4 rw 0 1", since'),
    ]);
  });

  it.each([
    ['/dev/b /b ext4 rw, 0 0', '/dev/b /b ext4 rw 0 0'],
    ['/dev/b /b ext4 rw,,noatime 0 0', '/dev/b /b ext4 rw,noatime 0 0'],
    ['LABEL="my disk" /b ext4 rw 0 0', 'LABEL="my\\040disk" /b ext4 rw 0 0'],
    ['/dev/b /b\0 ext4 rw 0 0', '/dev/b /b ext4 rw 0 0'],
    ['/dev/b /b ext4 rw 0 0\f', '/dev/b /b ext4 rw 0 0'],
    ['/dev/b /b ext4 rw, noatime 0 0', '#/dev/b /b ext4 rw noatime 0 0'],
    ['/dev/b', '#/dev/b'],
  ])('with the line %j is read as if it had %j', async (line, other) => {
    const { file } = await mend(`/dev/a / ext4 rw 0 1\n${line}\n/dev/c /c ext4 rw 0 0`, accepted);
    expect(file).toBe(`/dev/a / ext4 rw 0 1\n${other}\n/dev/c /c ext4 rw 0 0`);
  });

  it('with any number of wrong lines takes a bounded number of parses, and keeps the sound ones', async () => {
    const wrong = Array.from({ length: 2000 }, (_unused, index) => `/dev/x${index}\n`);
    const { file, messages, parses } = await mend(
      `/dev/a / ext4 rw 0 1\n${wrong.join('')}/dev/z /z ext4 rw 0 0\n`,
      accepted,
    );
    expect(file.split('\n').filter((line) => !line.startsWith('#'))).toEqual([
      '/dev/a / ext4 rw 0 1',
      '/dev/z /z ext4 rw 0 0',
      '',
    ]);
    expect(parses).toBeLessThan(15);
    expect(messages.at(-1)).toContain('as are 1989 of the lines after it');
  });
});

describe('a mapped device', () => {
  const uuid = '5e9ddb3e-ff5c-4bcb-9064-f64149345100';
  it.each([
    ['UUID=5E9DDB3E-ff5c-4bcb-9064-f64149345100', undefined],
    ['UUID="5e9ddb3e-ff5c-4bcb-9064-f64149345100"', undefined],
    ['/dev/disk/by-uuid/5e9ddb3e-ff5c-4bcb-9064-f64149345100', undefined],
    ['PARTUUID=aa-01', '/dev/sda2'],
    ['PARTLABEL="crypt"', '/dev/sda3'],
    ['/dev/disk/by-partuuid/aa-01', '/dev/sda2'],
    ['/dev/nvme0n1p2', '/dev/sda2'],
    ['/dev/nvme1n1', '/dev/sdb'],
    ['/dev/xvda2', '/dev/sda2'],
    ['/dev/vg/crypt', '/dev/vg/crypt'],
  ])('whose source in crypttab is %s is the one that was opened', async (source, device) => {
    const actions = new ScriptedActions({
      is_file: { fileflag: true },
      pread: { content: Buffer.from(`# name source\nother UUID=1234 none\ncr_root ${source} none luks\n`) },
      findfs_partuuid: { device: '/dev/sda2' },
      findfs_partlabel: { device: '/dev/sda3' },
      luks_uuid: { uuid },
    });
    expect(await resolveMountable(actions, '/dev/mapper/cr_root')).toBe(`/dev/mapper/luks-${uuid}`);
    expect(actions.requests('luks_uuid')).toEqual(device === undefined ? [] : [{ device }]);
  });

  it('whose source is not there keeps its name', async () => {
    const actions = new ScriptedActions({
      is_file: { fileflag: true },
      pread: { content: Buffer.from('cr_root /dev/sdz1 none\ncr_swap\nrandom /dev/urandom none\n') },
      luks_uuid: daemonError('no such device'),
    });
    for (const name of ['cr_root', 'cr_swap', 'random', 'none'])
      expect(await resolveMountable(actions, `/dev/mapper/${name}`)).toBe(`/dev/mapper/${name}`);
  });
});

describe('groups of devices', () => {
  const warned = async (members: Readonly<Record<string, string>>, result: string): Promise<unknown[]> => {
    const warnings = new Warnings();
    const actions = new ScriptedActions({ debug: { result } });
    await warnOfIncompleteGroups(actions, new Map(Object.entries(members)), warnings);
    return warnings.list.map(({ reason, message }) => `${reason} ${message}`);
  };

  it('that are not all there are named, with what is there', async () => {
    expect(
      await warned(
        { '/dev/sda1': 'linux_raid_member', '/dev/sda2': 'LVM2_member' },
        'array md127 sda1[0](S) sdc1[2](S)\ngroup whole 0\ngroup part 1\ngroup twice 0\ngroup twice 0\n',
      ),
    ).toEqual([
      expect.stringMatching(/^INCOMPLETE the RAID array \/dev\/md127 .* only \/dev\/sda1, \/dev\/sdc1 is there/),
      expect.stringMatching(/^INCOMPLETE the volume group part lacks 1 /),
      expect.stringMatching(/^INCOMPLETE 2 volume groups have the name twice,/),
    ]);
  });

  it('that the appliance cannot read are named', async () => {
    expect(await warned({ '/dev/sda1': 'zfs_member' }, '')).toEqual([
      'UNSUPPORTED /dev/sda1 is a member of a group of the type zfs, which the appliance cannot read: nothing on it is reported',
    ]);
    expect(await warned({}, '')).toEqual([]);
  });
});

describe('a distribution', () => {
  it.each([
    ['amzn', ['fedora'], 'rpm', 'dnf'],
    ['azurelinux', [], 'rpm', 'dnf'],
    ['wolfi', [], 'apk', 'apk'],
    ['neon', ['ubuntu', 'debian'], 'deb', 'apt'],
    ['sle-micro', ['suse'], 'rpm', 'zypper'],
    ['endeavouros', ['arch'], 'pacman', 'pacman'],
  ] as const)('%s like %j has packages of the format %s', (id, idLike, format, manager) => {
    const release = { ...parseRelease(''), id, idLike };
    expect(formatOf(release)).toBe(format);
    expect(managerFor(format, release)).toBe(manager);
  });

  it('has the name that libguestfs gives it', () => {
    expect(['alpine', 'opensuse-leap', 'ol', 'wolfi'].map(distroName)).toEqual([
      'alpinelinux',
      'opensuse',
      'oraclelinux',
      'wolfi',
    ]);
  });
});

describe('a package URL', () => {
  const one = application({ app2_name: 'Lib+x', app2_version: '1.0~rc1', app2_release: '2', app2_arch: 'amd64' });

  it.each([
    ['deb', 0, 'pkg:deb/some/lib%2Bx@1.0~rc1-2?arch=amd64&distro=some-1'],
    ['deb', 3, 'pkg:deb/some/lib%2Bx@3:1.0~rc1-2?arch=amd64&distro=some-1'],
    ['rpm', 3, 'pkg:rpm/some/Lib%2Bx@1.0~rc1-2?arch=amd64&distro=some-1&epoch=3'],
    ['apk', 0, 'pkg:apk/some/lib%2Bx@1.0~rc1-r2?arch=amd64&distro=some-1'],
    ['pacman', 0, 'pkg:alpm/some/lib%2Bx@1.0~rc1-2?arch=amd64'],
    [undefined, 0, ''],
  ] as const)('of the format %s', (format, epoch, url) => {
    expect(packageUrl({ ...one, app2_epoch: epoch }, { format, id: 'some', version: '1' })).toBe(url);
  });
});

describe('the name of a device', () => {
  it('is found in that of a subvolume', () => {
    expect(
      [
        'btrfsvol:/dev/sda1/a/b',
        'btrfsvol:/dev/vg/lv/a',
        'btrfsvol:/dev/mapper/luks-1/a',
        'btrfsvol:/dev/md0p1/a',
        '/dev/sda',
      ].map(deviceOf),
    ).toEqual(['/dev/sda1', '/dev/vg/lv', '/dev/mapper/luks-1', '/dev/md0p1', '/dev/sda']);
  });

  it('tells partitions from other drives', () => {
    expect(['/dev/sda1', '/dev/sdaa1', '/dev/sda', '/dev/sdap1'].map((one) => isPartOf(one, '/dev/sda'))).toEqual([
      true,
      false,
      false,
      true,
    ]);
  });

  it('is quoted for the shell', () => {
    expect(mountWords("btrfsvol:/dev/sda/it's; reboot")).toBe("-o 'subvol=it'\\''s; reboot' '/dev/sda'");
  });
});

describe('snapshots', () => {
  const entry = (path: string, uuid: string, parent = '-'): string =>
    `ID 256 gen 30 top level 5 parent_uuid ${parent.padEnd(36)} uuid ${uuid.padEnd(36)} path ${path}`;
  const roots = (...list: readonly string[]) => list.map((root) => inspected(root));
  const folded = (systems: readonly string[], output: readonly string[]): unknown =>
    foldFamilies(roots(...systems), output.join('\n')).map(({ root, snapshots }) => [root, snapshots]);

  it('belong to the system that is booted, whether it is the original or not', () => {
    expect(
      folded(
        ['/dev/sda', 'btrfsvol:/dev/sda/@', 'btrfsvol:/dev/sda/@/.snapshots/2/snapshot'],
        [
          'ID 260 gen 9 top level 5 path @/.snapshots/3/snapshot',
          entry('@', 'a'),
          entry('@/.snapshots/2/snapshot', 'b', 'a'),
          entry('@/.snapshots/3/snapshot', 'c', 'b'),
        ],
      ),
    ).toEqual([['/dev/sda', ['btrfsvol:/dev/sda/@', 'btrfsvol:/dev/sda/@/.snapshots/2/snapshot']]]);
  });

  it('belong to the original, if none of them is booted', () => {
    expect(
      folded(
        ['btrfsvol:/dev/sda/s1', 'btrfsvol:/dev/sda/@', 'btrfsvol:/dev/sda/other'],
        ['ID 5 (FS_TREE)', entry('@', 'a'), entry('s1', 'b', 'a'), entry('other', 'd')],
      ),
    ).toEqual([
      ['btrfsvol:/dev/sda/@', ['btrfsvol:/dev/sda/s1']],
      ['btrfsvol:/dev/sda/other', []],
    ]);
  });

  it('belong together even if the original was deleted, and if parents form a ring', () => {
    expect(
      folded(
        ['btrfsvol:/dev/sda/s1', 'btrfsvol:/dev/sda/s2'],
        ['ID 5 (FS_TREE)', entry('s1', 'b', 'gone'), entry('s2', 'c', 'gone')],
      ),
    ).toEqual([['btrfsvol:/dev/sda/s1', ['btrfsvol:/dev/sda/s2']]]);
    expect(folded(['btrfsvol:/dev/sda/s1'], ['ID 5 (FS_TREE)', entry('s1', 'b', 'c'), entry('s2', 'c', 'b')])).toEqual([
      ['btrfsvol:/dev/sda/s1', []],
    ]);
  });
});

describe('a hive', () => {
  it('that can be opened, but not read, is a damaged one, and is closed', async () => {
    const actions = new ScriptedActions({
      hivex_open: {},
      hivex_root: daemonError('bad block'),
      hivex_close: {},
    });
    expect(await changeHive(actions, '/Windows/System32/config/SYSTEM', async (hive) => void (await hive.node()))).toBe(
      undefined,
    );
    expect(actions.called.at(-1)?.action).toBe('hivex_close');
  });
});

describe('a registry value of an unexpected type', () => {
  it('gets the expected one', () => {
    const text = (value: string): Buffer => Buffer.from(`${value}\0`, 'utf16le');
    const number = Buffer.from([10, 0, 0, 0]);
    expect(soundValue({ key: 'CurrentMajorVersionNumber', type: REG_SZ, content: text('10') })).toEqual({
      key: 'CurrentMajorVersionNumber',
      type: REG_DWORD,
      content: number,
    });
    expect(soundValue({ key: 'ProductName', type: REG_DWORD, content: number })).toMatchObject({
      type: REG_SZ,
      content: text('10'),
    });
    expect(soundValue({ key: 'Current', type: REG_DWORD, content: number })).toBeUndefined();
    expect(soundValue({ key: 'Other', type: REG_DWORD, content: text('x') })).toBeUndefined();
  });
});
