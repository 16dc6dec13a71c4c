/** libvirt's descriptions of domains, which a client's own libvirt can send. */
import { GuestfsError } from '../../../src/common/errors.js';
import { parseDomain, type Domain, type DomainDisk } from '../../../src/library/domain/domainXml.js';
import { ensure, turn, unlessRefused, type Target } from '../engine/target.js';

/** As in XML. */
function quoted(text: string): string {
  // Line breaks and tabs in attributes would become spaces.
  return text.replace(/[&<>"'\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function tag(name: string, attributes: Readonly<Record<string, string | undefined>>, content = ''): string {
  const written = Object.entries(attributes).map(([key, value]) =>
    value === undefined ? '' : ` ${key}="${quoted(value)}"`,
  );
  return `<${name}${written.join('')}>${content}</${name}>`;
}

function hostOf(server: string): string {
  if (server.startsWith('unix:')) return tag('host', { socket: server.slice('unix:'.length) });
  return tag('host', { name: server });
}

function sourceTag({ source }: DomainDisk): string {
  switch (source.kind) {
    case 'path':
      return tag('source', { file: source.path });
    case 'volume':
      return tag('source', { pool: source.pool, volume: source.volume });
    case 'network': {
      const { login } = source;
      const auth =
        login === undefined ? '' : tag('auth', { username: login.username }, tag('secret', { ...login.secret }));
      return tag(
        'source',
        { protocol: source.protocol, name: source.name },
        source.servers.map(hostOf).join('') + auth,
      );
    }
  }
}

/** The domain, described anew. */
function describe({ name, uuid, disks }: Domain): string {
  const written = disks.map((disk) => {
    const type = { path: 'file', volume: 'volume', network: 'network' }[disk.source.kind];
    const more = [
      disk.format === undefined ? '' : tag('driver', { type: disk.format }),
      disk.readonly ? '<readonly/>' : '',
      disk.blockSize === undefined ? '' : tag('blockio', { logical_block_size: String(disk.blockSize) }),
    ];
    return tag('disk', { type }, sourceTag(disk) + more.join(''));
  });
  return tag(
    'domain',
    {},
    `<name>${quoted(name)}</name><uuid>${quoted(uuid)}</uuid>${tag('devices', {}, written.join(''))}`,
  );
}

const SEEDS: readonly Domain[] = [
  { name: 'a & b', uuid: '11111111-2222-3333-4444-555555555555', disks: [] },
  {
    name: 'web',
    uuid: '',
    disks: [
      { source: { kind: 'path', path: '/a "b".img' }, format: 'qcow2', readonly: false, blockSize: undefined },
      { source: { kind: 'volume', pool: 'default', volume: 'x' }, format: undefined, readonly: true, blockSize: 4096 },
      {
        source: {
          ...{ kind: 'network', protocol: 'rbd', name: 'pool/image', servers: ['one:6789', 'unix:/s'] },
          login: { username: 'u', secret: { type: 'ceph', uuid: 'x', usage: undefined } },
        },
        ...{ format: 'raw', readonly: false, blockSize: undefined },
      },
    ],
  },
];

const OTHER_SEEDS = [
  '<?xml version="1.0"?><domain><name>x</name><devices><disk type="block"><source dev="/dev/x"/></disk></devices></domain>',
  '<domain><name><![CDATA[x]]></name><!-- a --><devices><disk type="network"><auth username="u"/><source protocol="nbd"><host name="h" port="1"/></source></disk></devices></domain>',
  '<!DOCTYPE domain [<!ENTITY a SYSTEM "file:///etc/passwd">]><domain><name>&a;</name></domain>',
];

export const domains: Target = {
  name: 'domains',
  about: 'descriptions of libvirt domains',
  longest: 4096,
  // The server does not wait for the parser, which has a thread of its own, but for 30 s at most.
  stretched: 64 << 10,
  seeds: () => [...SEEDS.map(describe), ...OTHER_SEEDS].map((text) => Buffer.from(text)),
  run(input) {
    // All that the server does itself.
    turn(() => undefined);
    const domain = unlessRefused([GuestfsError], () => parseDomain(input.toString('utf8')));
    if (domain === undefined) return;
    for (const { source, format, blockSize } of domain.disks) {
      ensure(format === undefined || typeof format === 'string', 'a format is no string');
      ensure(blockSize === undefined || typeof blockSize === 'number', 'a size of blocks is no number');
      if (source.kind === 'network') for (const one of source.servers) ensure(typeof one === 'string', 'a bad server');
    }
    const again = parseDomain(describe(domain));
    ensure(JSON.stringify(again) === JSON.stringify(domain), 'a domain that is described again is another one');
  },
};
