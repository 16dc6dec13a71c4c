/** libvirt's descriptions of domains, and invalid ones. */
import { describe, expect, it } from '@jest/globals';
import { parseDomain } from '../../../src/library/domain/domainXml.js';
import { parseDomainApart } from '../../../src/library/domain/parseDomainApart.js';
import { longestTurn } from '../../support/loopTime.js';

const domain = (disks: string): string =>
  `<domain type='kvm'><name>a &amp; b</name><uuid>11111111-2222-3333-4444-555555555555</uuid><devices><emulator>/usr/bin/qemu</emulator>${disks}</devices></domain>`;

describe('a domain', () => {
  it('has its name and UUID, and no disks without any', () => {
    expect(parseDomain(domain(''))).toEqual({ name: 'a & b', uuid: '11111111-2222-3333-4444-555555555555', disks: [] });
  });

  it.each([
    [
      'a file',
      '<disk type="file"><driver name="qemu" type="qcow2"/><source file="/a b.img"/></disk>',
      { source: { kind: 'path', path: '/a b.img' }, format: 'qcow2', readonly: false, blockSize: undefined },
    ],
    [
      'a file with an unusual name',
      '<disk type="file"><source file="/a &quot;b&quot;&#10;&#x9;&amp;lt; "/></disk>',
      { source: { kind: 'path', path: '/a "b"\n\t&lt; ' }, format: undefined, readonly: false, blockSize: undefined },
    ],
    [
      'a device',
      '<disk type="block"><source dev="/dev/vg/one"/><readonly/><blockio logical_block_size="4096"/></disk>',
      { source: { kind: 'path', path: '/dev/vg/one' }, format: undefined, readonly: true, blockSize: 4096 },
    ],
    [
      'a volume',
      '<disk type="volume"><source pool="default" volume="x"/></disk>',
      {
        source: { kind: 'volume', pool: 'default', volume: 'x' },
        format: undefined,
        readonly: false,
        blockSize: undefined,
      },
    ],
    [
      'an export',
      '<disk type="network"><source protocol="nbd"><host name="h" port="1"/></source></disk>',
      {
        source: { kind: 'network', protocol: 'nbd', name: '', servers: ['h:1'], login: undefined },
        format: undefined,
        readonly: false,
        blockSize: undefined,
      },
    ],
    [
      "a cluster's image",
      '<disk type="network"><auth username="u"><secret type="ceph" uuid="x"/></auth><source protocol="rbd" name="pool/image"><host name="one" port="6789"/><host name="two"/><host transport="unix" socket="/s"/></source></disk>',
      {
        source: {
          kind: 'network',
          protocol: 'rbd',
          name: 'pool/image',
          servers: ['one:6789', 'two', 'unix:/s'],
          login: { username: 'u', secret: { type: 'ceph', uuid: 'x', usage: undefined } },
        },
        format: undefined,
        readonly: false,
        blockSize: undefined,
      },
    ],
    [
      'a login in its source',
      '<disk type="network"><source protocol="iscsi" name="t/1"><host name="h"/><auth username="u"><secret type="iscsi" usage="a b"/></auth></source></disk>',
      {
        source: {
          kind: 'network',
          protocol: 'iscsi',
          name: 't/1',
          servers: ['h'],
          login: { username: 'u', secret: { type: 'iscsi', uuid: undefined, usage: 'a b' } },
        },
        format: undefined,
        readonly: false,
        blockSize: undefined,
      },
    ],
  ])('has %s', (_what, xml, disk) => {
    expect(parseDomain(domain(xml)).disks).toEqual([disk]);
  });

  it.each([
    ['an empty CD drive', '<disk type="file" device="cdrom"><target dev="hdc"/><readonly/></disk>'],
    ['a directory', '<disk type="dir"><source dir="/x"/></disk>'],
    ['a volume without a pool', '<disk type="volume"><source volume="x"/></disk>'],
  ])('is without %s', (_what, xml) => {
    expect(parseDomain(domain(xml)).disks).toEqual([]);
  });

  it('keeps the order of its disks', () => {
    const names = ['b', 'a', 'c'];
    expect(
      parseDomain(domain(names.map((name) => `<disk type="file"><source file="/${name}"/></disk>`).join(''))).disks.map(
        ({ source }) => source,
      ),
    ).toEqual(names.map((name) => ({ kind: 'path', path: `/${name}` })));
  });
});

describe('an invalid description', () => {
  it.each([
    '',
    'no XML',
    '<domain>',
    '<domain><devices/></domain>',
    '<network><name>x</name></network>',
    '<!DOCTYPE domain [<!ENTITY a SYSTEM "file:///etc/passwd">]><domain><name>&a;</name></domain>',
  ])('is refused: %s', (xml) => {
    expect(() => parseDomain(xml)).toThrow(
      expect.objectContaining({ reason: 'EINVAL', message: expect.stringContaining('unable to parse') }),
    );
  });
});

describe('a description that is parsed in a thread', () => {
  const { signal } = new AbortController();

  it('says the same', async () => {
    const xml = domain('<disk type="file"><source file="/a.img"/></disk>');
    expect(await parseDomainApart(xml, signal)).toEqual(parseDomain(xml));
    await expect(parseDomainApart('<network/>', signal)).rejects.toMatchObject({ reason: 'EINVAL' });
  });

  it.each([
    ['elements', domain('<a/>'.repeat(1 << 18))],
    ['disks', domain('<disk type="file"><source file="/a.img"/></disk>'.repeat(1 << 14))],
    ['a quotation without end', `${domain('').slice(0, -20)}<a b="`.repeat(1 << 12)],
  ])('keeps nothing waiting, however long it is: %s', async (_what, xml) => {
    const longest = await longestTurn(async () => {
      await parseDomainApart(xml, signal).catch(() => undefined);
    });
    expect(longest).toBeLessThan(50);
  });

  it('is given up with the call', async () => {
    const controller = new AbortController();
    setTimeout(() => controller.abort(new Error('given up')), 20);
    await expect(parseDomainApart(domain('<a/>'.repeat(1 << 19)), controller.signal)).rejects.toThrow('given up');
  });
});
