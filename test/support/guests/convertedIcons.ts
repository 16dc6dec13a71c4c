/** Systems whose icons are not PNG files: Windows XP and 7, and CirrOS. */
import { tinyProgram } from '../../../demo/guest/tinyProgram.js';
import { makeDirectories, mountAll, partition, writeTree, type Guest, type Tree } from './guest.js';
import { hiveOf } from './registryHive.js';
import { keys, number, programHeaders, SOFTWARE, SYSTEM, text } from './windowsParts.js';

/**
 * A Windows before 10, on the first partition.
 * @param version of the kernel: `5.1` is XP
 * @param programs by their path in the directory of the system, `/WINDOWS`
 */
export function oldWindows(name: string, version: string, programs: Readonly<Record<string, Buffer>>): Guest {
  const software = hiveOf(
    SOFTWARE,
    keys(SOFTWARE, 'Microsoft\\Windows NT\\CurrentVersion', {
      ProductName: text(`Microsoft ${name}`),
      CurrentVersion: text(version),
    }),
  );
  const system = hiveOf(
    SYSTEM,
    [
      keys(SYSTEM, 'Select', { Current: number(1), Default: number(1), Failed: number(0), LastKnownGood: number(1) }),
      keys(SYSTEM, 'ControlSet001\\Services\\Tcpip\\Parameters', { Hostname: text('OLD') }),
    ].join('\n'),
  );
  return {
    name,
    mebibytes: 32,
    systems: [], // only their icons are of interest
    fill: async (session) => {
      await partition(session, 'mbr', []);
      await session.call('mkfs', { fstype: 'ntfs', device: '/dev/sda1' });
      await mountAll(session, { '/': '/dev/sda1' });
      await writeTree(session, {
        '/WINDOWS/system32/cmd.exe': programHeaders(),
        '/WINDOWS/system32/config/software': software,
        '/WINDOWS/system32/config/system': system,
        ...Object.fromEntries(Object.entries(programs).map(([path, program]) => [`/WINDOWS/${path}`, program])),
      });
    },
  };
}

/** A CirrOS with some files, on a drive without partitions. */
export function cirros(files: Tree): Guest {
  return {
    name: 'cirros',
    mebibytes: 32,
    systems: [], // only their icons are of interest
    fill: async (session) => {
      await session.call('mkfs', { fstype: 'ext4', device: '/dev/sda' });
      await mountAll(session, { '/': '/dev/sda' });
      await makeDirectories(session, '/root', '/home');
      await writeTree(session, {
        '/bin/sh': tinyProgram(),
        '/etc/fstab': '/dev/root / auto rw,noauto 0 1\n',
        '/etc/cirros/version': '0.6.2\n',
        ...files,
      });
    },
  };
}
