import { describe, expect, it } from '@jest/globals';

import { selectPackages } from '../../appliance-builder/packages.js';
import { parseStatus } from '../../appliance-builder/rootfs.js';

describe('selectPackages', () => {
  const everything = (): boolean => true;

  it('joins the list of the suite with ours, each package once', () => {
    const { packages, missing } = selectPackages(['bash', 'xfsprogs'], everything);
    expect(packages).toContain('bash');
    expect(packages).toContain('clevis-luks');
    expect(packages.filter((name) => name === 'xfsprogs')).toHaveLength(1);
    expect(missing).toEqual([]);
  });

  it('leaves out what the daemon does not use', () => {
    expect(selectPackages(['qemu-utils', 'debootstrap'], everything).packages).not.toContain('qemu-utils');
  });

  it('chooses one DHCP client, the best one available', () => {
    const dhcp = (listed: string[], available = everything): string[] =>
      selectPackages(listed, available).packages.filter((name) => /dhc/.test(name));
    expect(dhcp(['isc-dhcp-client', 'dhcpcd-base'])).toEqual(['dhcpcd-base']);
    expect(dhcp(['isc-dhcp-client'])).toEqual(['isc-dhcp-client']);
  });

  it('reports what the suite lacks', () => {
    const { packages, missing } = selectPackages(['bash'], (name) => name !== 'reiserfsprogs');
    expect(packages).not.toContain('reiserfsprogs');
    expect(missing).toEqual(['reiserfsprogs']);
  });
});

describe('parseStatus', () => {
  it('reads installed packages and skips removed ones', () => {
    const text = `Package: bash
Status: install ok installed
Version: 5.2-1

Package: gone
Status: deinstall ok config-files
Version: 1.0
`;
    expect([...parseStatus(text)]).toEqual([['bash', '5.2-1']]);
  });
});
