/** Windows 11: two NTFS partitions and a registry in real hives. */
import { makeDirectories, mountAll, partition, writeTree, type Guest } from './guest.js';
import { hiveOf } from './registryHive.js';
import { keys, number, programHeaders, SOFTWARE, SYSTEM, text } from './windowsParts.js';

/** How the registry identifies the disk. */
const DISK_ID = Buffer.from('1234');
const DISK_ID_OFFSET = 0x1b8n;
const RESERVED_MB = 16;

const UNINSTALL = 'Microsoft\\Windows\\CurrentVersion\\Uninstall';

function softwareHive(): Buffer {
  return hiveOf(
    SOFTWARE,
    [
      keys(SOFTWARE, 'Microsoft\\Windows NT\\CurrentVersion', {
        ProductName: text('Windows 10 Pro'), // what Windows 11 calls itself here
        CurrentVersion: text('6.3'),
        CurrentMajorVersionNumber: number(10),
        CurrentMinorVersionNumber: number(0),
        CurrentBuildNumber: text('22631'),
        InstallationType: text('Client'),
      }),
      keys(SOFTWARE, `${UNINSTALL}\\7-Zip`, {
        DisplayName: text('7-Zip 23.01 (x64)'),
        DisplayVersion: text('23.01'),
        Publisher: text('Igor Pavlov'),
        InstallLocation: text('C:\\\\Program Files\\\\7-Zip'),
      }),
      keys(SOFTWARE, `${UNINSTALL}\\{NAMELESS}`, { DisplayVersion: text('1.0') }),
      keys(SOFTWARE, `WOW6432node\\${UNINSTALL}\\Old`, {
        DisplayName: text('Something old'),
        DisplayVersion: text('0.9'),
      }),
      keys(SOFTWARE, 'Microsoft\\Windows Defender'),
    ].join('\n'),
  );
}

function systemHive(): Buffer {
  const place = Buffer.alloc(8);
  place.writeBigUInt64LE(BigInt((1 + RESERVED_MB) << 20));
  const mapping = [...DISK_ID, ...place].map((byte) => byte.toString(16).padStart(2, '0')).join(',');
  return hiveOf(
    SYSTEM,
    [
      keys(SYSTEM, 'Select', { Current: number(1), Default: number(1), Failed: number(0), LastKnownGood: number(1) }),
      keys(SYSTEM, 'MountedDevices', { '\\\\DosDevices\\\\C:': `hex(3):${mapping}` }),
      keys(SYSTEM, 'ControlSet001\\Services\\Tcpip\\Parameters', { Hostname: text('DESKTOP-1') }),
    ].join('\n'),
  );
}

export const windows: Guest = {
  name: 'windows',
  mebibytes: 96,
  systems: [
    {
      root: '/dev/sda2',
      type: 'windows',
      distro: 'windows',
      productName: 'Windows 10 Pro',
      productVariant: 'Client',
      version: [10, 0],
      hostname: 'DESKTOP-1',
      arch: 'x86_64',
      packageFormat: 'unknown',
      packageManagement: 'unknown',
      buildId: '22631',
      osinfo: 'win11',
      mountpoints: { '/': '/dev/sda2' },
      filesystems: ['/dev/sda2'],
      driveMappings: { C: '/dev/sda2' },
      windows: {
        systemroot: '/Windows',
        currentControlSet: 'ControlSet001',
        softwareHive: '/Windows/System32/config/SOFTWARE',
        systemHive: '/Windows/System32/config/SYSTEM',
      },
      applications: [
        ['7-Zip', '23.01', ''],
        ['Old', '0.9', ''],
        ['WinDefend', '', ''],
      ],
    },
  ],
  applicationDetails: {
    '7-Zip': {
      app2_display_name: '7-Zip 23.01 (x64)',
      app2_publisher: 'Igor Pavlov',
      app2_install_path: 'C:\\Program Files\\7-Zip',
    },
    WinDefend: { app2_display_name: 'Microsoft Defender Antivirus', app2_class: 'antivirus' },
  },
  fill: async (session) => {
    await partition(session, 'mbr', [RESERVED_MB]);
    await session.call('pwrite_device', { device: '/dev/sda', content: DISK_ID, offset: DISK_ID_OFFSET });
    await session.call('mkfs', { fstype: 'ntfs', device: '/dev/sda1', label: 'System Reserved' });
    await session.call('mkfs', { fstype: 'ntfs', device: '/dev/sda2' });
    await mountAll(session, { '/': '/dev/sda2' });
    await makeDirectories(session, '/Program Files', '/Users');
    await writeTree(session, {
      '/Windows/System32/cmd.exe': programHeaders(),
      '/Windows/System32/config/SOFTWARE': softwareHive(),
      '/Windows/System32/config/SYSTEM': systemHive(),
    });
  },
};
