import { describe, expect, it } from '@jest/globals';
import { inspectionActions } from '../../../src/library/inspection.js';
import { inTurn } from './fakes.js';

interface System {
  readonly type: string;
  readonly distro: string;
  readonly version: string;
  readonly product?: string;
  readonly variant?: string;
  readonly build?: string;
  /** Version of the daemon. */
  readonly daemon?: string;
}

function inspected({
  type,
  distro,
  version,
  product = '',
  variant = '',
  build = '',
  daemon = '1.54.1',
}: System): ReturnType<typeof inTurn> {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return inTurn('inspect_get_osinfo', {
    version: daemon,
    answers: {
      inspect_get_type: { name: type },
      inspect_get_distro: { distro },
      inspect_get_major_version: { major },
      inspect_get_minor_version: { minor },
      inspect_get_product_name: { product },
      inspect_get_product_variant: { variant },
      inspect_get_build_id: { buildid: build },
    },
  });
}

async function identify(system: System): Promise<string> {
  return (await inspectionActions.inspect_get_osinfo(inspected(system), { root: '/dev/sda1' })).id;
}

describe('inspect_get_osinfo', () => {
  it.each([
    ['centos', '8.4', 'centos8'],
    ['centos', '7.9', 'centos7.0'],
    ['centos', '6.10', 'centos6.10'],
    ['centos', '5.2', 'centos5.2'],
    ['rocky', '9.1', 'rocky9'],
    ['circle', '8.2', 'circle8'],
    ['debian', '12.1', 'debian12'],
    ['debian', '3.1', 'debian3.1'],
    ['fedora', '40', 'fedora40'],
    ['mageia', '9', 'mageia9'],
    ['sles', '15.5', 'sle15sp5'],
    ['sles', '15', 'sle15'],
    ['sles', '12.1', 'sles12sp1'],
    ['ubuntu', '22.04', 'ubuntu22.04'],
    ['ubuntu', '9.10', 'ubuntu9.10'],
    ['archlinux', '0', 'archlinux'],
    ['gentoo', '2.7', 'gentoo'],
    ['voidlinux', '0', 'voidlinux'],
    ['altlinux', '9.1', 'alt9.1'],
    ['altlinux', '7.0', 'altlinux7.0'],
    ['alpine', '3.18', 'alpine3.18'],
    ['alpine', '0', 'unknown'],
    ['unknown', '1.0', 'unknown'],
  ])('Linux %s %s is %s', async (distro, version, id) => {
    expect(await identify({ type: 'linux', distro, version })).toBe(id);
  });

  it.each([
    ['freebsd', 'freebsd', '14.1', 'freebsd14.1'],
    ['netbsd', 'netbsd', '9.3', 'netbsd9.3'],
    ['openbsd', 'openbsd', '7.5', 'openbsd7.5'],
    ['dos', 'msdos', '0', 'msdos6.22'],
    ['dos', 'freedos', '1.2', 'unknown'],
    ['hurd', 'debian', '7', 'unknown'],
    ['minix', 'minix', '3.2', 'unknown'],
  ])('%s %s %s is %s', async (type, distro, version, id) => {
    expect(await identify({ type, distro, version })).toBe(id);
  });

  it.each([
    ['5.1', 'Microsoft Windows XP', 'Client', '', 'winxp'],
    ['5.2', 'Microsoft Windows XP x64', 'Client', '', 'winxp'],
    ['5.2', 'Windows Server 2003 R2', 'Server', '', 'win2k3r2'],
    ['5.2', 'Windows Server 2003', 'Server', '', 'win2k3'],
    ['6.0', 'Windows Vista', 'Client', '', 'winvista'],
    ['6.0', 'Windows Server 2008', 'Server', '', 'win2k8'],
    ['6.1', 'Windows 7', 'Client', '', 'win7'],
    ['6.1', 'Windows Server 2008 R2', 'Server Core', '', 'win2k8r2'],
    ['6.2', 'Windows 8', 'Client', '', 'win8'],
    ['6.2', 'Windows Server 2012', 'Server', '', 'win2k12'],
    ['6.3', 'Windows 8.1', 'Client', '', 'win8.1'],
    ['6.3', 'Windows Server 2012 R2', 'Server', '', 'win2k12r2'],
    ['6.4', 'Windows 10 preview', 'Client', '', 'unknown'],
    ['10.0', 'Windows Server 2025 Standard', 'Server', '', 'win2k25'],
    ['10.0', 'Windows Server 2022 Standard', 'Server', '', 'win2k22'],
    ['10.0', 'Windows Server 2019 Standard', 'Server', '', 'win2k19'],
    ['10.0', 'Windows Server 2016 Standard', 'Server', '', 'win2k16'],
    ['10.0', 'Windows 10 Pro', 'Client', '19045', 'win10'],
    ['10.0', 'Windows 10 Pro', 'Client', '22000', 'win11'],
    ['4.0', 'Windows NT', 'Client', '', 'unknown'],
  ])('Windows %s "%s" %s %s is %s', async (version, product, variant, build, id) => {
    expect(await identify({ type: 'windows', distro: 'windows', version, product, variant, build })).toBe(id);
  });

  it.each([
    ['1.48.6', 'win10'],
    ['1.49.7', 'win10'],
    ['1.49.8', 'win11'],
  ])('a Windows 11 is for a daemon %s, which may not know the build, %s', async (daemon, id) => {
    const context = inspected({
      type: 'windows',
      distro: 'windows',
      version: '10.0',
      product: 'Windows 10 Pro',
      variant: 'Client',
      build: '22631',
      daemon,
    });
    expect(await inspectionActions.inspect_get_osinfo(context, { root: '/dev/sda1' })).toEqual({ id });
    expect(context.daemon.actions.includes('inspect_get_build_id')).toBe(id === 'win11');
  });

  it.each(['22x', '99999999999'])('fails if a build is not a number, like %s', async (build) => {
    await expect(
      identify({ type: 'windows', distro: 'windows', version: '10.0', variant: 'Client', build }),
    ).rejects.toMatchObject({ reason: 'DAEMON_ERROR' });
  });
});
