/** What reports read themselves: os-release, subvolumes, tables, formats of packages, package URLs. */
import { describe, expect, it } from '@jest/globals';
import { distroName, formatOf, managerFor } from '../../../../src/library/report/distros.js';
import { inspected } from '../../../../src/library/report/foundSystem.js';
import { deviceOf, mountWords } from '../../../../src/library/report/mending/culprit.js';
import { REG_DWORD, REG_SZ } from '../../../../src/library/report/mending/hive.js';
import { soundValue } from '../../../../src/library/report/mending/windows.js';
import { packageUrl } from '../../../../src/library/report/packageUrl.js';
import { isPartOf } from '../../../../src/library/report/partOf.js';
import { parseRelease } from '../../../../src/library/report/release.js';
import { foldFamilies } from '../../../../src/library/report/snapshots.js';
import { application } from './scriptedActions.js';

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
