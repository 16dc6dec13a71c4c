/** The disks of libvirt domains, from libvirt's own tool: its test driver has domains without a hypervisor. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { iscsiServer, type DiskServer } from '../support/diskServers.js';
import { describeDomain, type TestDomain } from '../support/libvirtDomains.js';
import { launchSession, serverForTests, type Scene } from '../support/scene.js';
import { failureOf, SessionClient } from '../support/testClient.js';

const UUID = '11111111-2222-3333-4444-555555555555';

describeWithAppliance('a domain of libvirt', () => {
  const scene = serverForTests({ flags: ['--allow', 'host-actions', '--debug-service'] });
  let libvirturi = '';
  const image = (name: string): string => join(scene.server.images, name);
  const disk = (name: string, target: string, more = ''): string =>
    `<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${image(name)}"/><target dev="${target}"/>${more}</disk>`;
  const session = async (): Promise<SessionClient> =>
    new SessionClient(scene.client, (await scene.client.createSession()).id);
  const add = (one: SessionClient, dom: string, more: object = {}): Promise<number> =>
    one.call('add_domain', { dom, libvirturi, ...more });
  const debugDrives = async (one: SessionClient): Promise<string[]> => one.call('debug_drives');

  beforeAll(() => {
    emptyImage(image('first.img'), 8);
    emptyImage(image('second.img'), 16);
    const domains: readonly TestDomain[] = [
      {
        name: 'off &amp; on',
        uuid: UUID,
        disks: `${disk('first.img', 'vda')}${disk('second.img', 'vdb', '<readonly/>')}<disk type="file" device="cdrom"><target dev="hdc"/><readonly/></disk>`,
      },
      { name: 'running', disks: disk('first.img', 'vda'), runs: true },
      {
        name: 'elsewhere',
        disks: '<disk type="file" device="disk"><source file="/etc/passwd"/><target dev="vda"/></disk>',
      },
      { name: 'half', disks: `${disk('first.img', 'vda')}${disk('missing.img', 'vdb')}` },
      {
        name: 'network',
        disks:
          '<disk type="network" device="disk"><source protocol="nbd" name="x"><host name="localhost" port="10809"/></source><target dev="vda"/></disk>',
      },
      { name: 'diskless', disks: '' },
    ];
    writeFileSync(image('node.xml'), `<node>${domains.map(describeDomain).join('')}</node>`);
    libvirturi = `test://${image('node.xml')}`;
  });

  it('gives its disks, in its order, which are attached', async () => {
    const one = await session();
    expect(await add(one, 'off & on', { readonly: true })).toBe(2);
    await one.call('launch');
    expect(await one.call('list_devices')).toEqual(['/dev/sda', '/dev/sdb']);
    expect(await one.call('blockdev_getsize64', { device: '/dev/sdb' })).toBe(16n << 20n);
    await scene.client.deleteSession(one.id);
  });

  it.each([
    ['write', [false, false]],
    ['read', [false, true]],
    ['ignore', [false]],
  ] as const)('whose read-only disks are handled by readonlydisk: %s', async (readonlydisk, expected) => {
    const one = await session();
    expect(await add(one, 'off & on', { readonlydisk })).toBe(2);
    expect((await debugDrives(one)).map((line) => line.includes('readonly'))).toEqual(expected);
    await scene.client.deleteSession(one.id);
  });

  it('is found by its UUID, if that is allowed', async () => {
    const one = await session();
    expect((await failureOf(add(one, UUID))).info).toMatchObject({ reason: 'ENOENT' });
    expect(await add(one, UUID.toUpperCase(), { allowuuid: true, cachemode: 'unsafe' })).toBe(2);
    expect((await debugDrives(one))[0]).toContain('cache=unsafe');
    await scene.client.deleteSession(one.id);
  });

  it.each<[string, string, object, object]>([
    [
      'does not exist',
      'nosuch',
      {},
      { info: { reason: 'DAEMON_ERROR' }, details: expect.stringContaining("failed to get domain 'nosuch'") },
    ],
    ['is named like an option', '--help', {}, { details: expect.stringContaining('failed to get domain') }],
    ['runs, and would be written', 'running', {}, { info: { reason: 'EBUSY' } }],
    ['has a disk outside the image roots', 'elsewhere', {}, { info: { reason: 'OUTSIDE_IMAGE_ROOTS' } }],
    ['has a disk that is missing', 'half', {}, { info: { reason: 'IMAGE_MISSING' } }],
    ['has a network drive, which the server does not allow', 'network', {}, { info: { reason: 'NOT_ALLOWED' } }],
    [
      'has no disks',
      'diskless',
      {},
      { info: { reason: 'EINVAL' }, details: expect.stringContaining('libvirt domain has no disks') },
    ],
    ['is to be shared live', 'off & on', { live: true }, { info: { reason: 'ENOTSUP' } }],
    ['has a read-only disk, which is an error', 'off & on', { readonlydisk: 'error' }, { info: { reason: 'EINVAL' } }],
    [
      'is asked for with a nonsensical readonlydisk',
      'off & on',
      { readonlydisk: 'x' },
      { info: { reason: 'BAD_ARGUMENT' } },
    ],
  ])('that %s adds nothing', async (_what, dom, more, failure) => {
    const one = await session();
    expect(await failureOf(add(one, dom, more))).toMatchObject(failure);
    expect(await debugDrives(one)).toEqual([]);
    await scene.client.deleteSession(one.id);
  });

  it('that runs can be read', async () => {
    const one = await session();
    expect(await add(one, 'running', { readonly: true })).toBe(1);
    await scene.client.deleteSession(one.id);
  });

  it.each(['qemu+ext://host/system?command=', 'qemu+ssh://host/system?%63ommand='])(
    'is not asked for by a program of the client: %s',
    async (uri) => {
      const one = await session();
      writeFileSync(image('program'), `#!/bin/sh\n: >${image('ran')}\n`, { mode: 0o755 });
      expect(
        await failureOf(add(one, 'running', { readonly: true, libvirturi: `${uri}${image('program')}` })),
      ).toMatchObject({
        code: status.PERMISSION_DENIED,
        details: expect.stringContaining('--allow custom-qemu'),
        info: { reason: 'NOT_ALLOWED' },
      });
      expect(existsSync(image('ran'))).toBe(false);
      await scene.client.deleteSession(one.id);
    },
  );

  it('shows nothing of a file that is not a description of domains', async () => {
    const one = await session();
    writeFileSync(image('secret'), 'a line of somebody else\n');
    const { code, details } = await failureOf(
      add(one, 'running', { readonly: true, libvirturi: `test://${image('secret')}` }),
    );
    expect(code).toBe(status.UNKNOWN);
    expect(details).toContain('Start tag expected');
    expect(details).not.toContain('somebody');
    await scene.client.deleteSession(one.id);
  });

  it('is for a session that is not launched', async () => {
    const one = await launchSession(scene.client, [
      {
        source: { $case: 'path', value: 'first.img' },
        format: 'raw',
        writable: false,
        label: undefined,
        cachemode: undefined,
        discard: undefined,
        blocksize: undefined,
        backing_formats: [],
      },
    ]);
    expect((await failureOf(add(one, 'running', { readonly: true }))).info).toMatchObject({ reason: 'WRONG_STATE' });
    await scene.client.deleteSession(one.id);
  });
});

/** Replaces virsh, for a libvirt with secrets: the test driver has none, and is used for everything else. */
function virshWithSecret(
  directory: string,
  { type, usage, value }: { readonly type: string; readonly usage: string; readonly value: string },
): string {
  const commands = join(directory, 'commands');
  const path = join(directory, 'virsh');
  writeFileSync(
    path,
    `#!/bin/sh
echo "$*" >>'${commands}'
for word; do
  case $word in
    secret-list) echo ' ${UUID}   ${type} ${usage}'; exit;;
    secret-get-value) echo '${Buffer.from(value).toString('base64')}'; exit;;
  esac
done
PATH=\${PATH#*:} exec virsh "$@"
`,
    { mode: 0o755 },
  );
  return commands;
}

describeWithAppliance('a domain whose disk needs a secret', () => {
  const SECRET = 'sesame, "open"';
  const target = 'iqn.2003-01.org.example:disk';
  let directory = '';
  let commands = '';
  let disks: DiskServer;
  let libvirturi = '';

  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), 'guestfs-grpc-virsh-'));
    commands = virshWithSecret(directory, { type: 'iscsi', usage: 'the target', value: SECRET });
  });
  const server = (...flags: string[]): Scene =>
    serverForTests(() => ({
      flags: ['--allow', 'host-actions', ...flags],
      env: { PATH: `${directory}:${process.env['PATH'] ?? ''}` },
    }));
  const scene = server('--allow', 'remote-drives', '--trace', '--log-level', 'debug');
  const cautious = server();
  beforeAll(async () => {
    const image = emptyImage(join(scene.server.images, 'disk.img'), 8);
    disks = await iscsiServer({ image, target, directory, login: { user: 'ali', password: SECRET } });
    const [host, port] = disks.address.split(':');
    const domain = (name: string, secret: string): string =>
      describeDomain({
        name,
        disks: `<disk type="network" device="disk"><auth username="ali">${secret}</auth><source protocol="iscsi" name="${target}/1"><host name="${host}" port="${port}"/></source><target dev="vda"/></disk>`,
      });
    writeFileSync(
      join(directory, 'node.xml'),
      `<node>${domain('kept', '<secret type="iscsi" usage="the target"/>')}${domain('lost', '<secret type="iscsi" usage="another"/>')}</node>`,
    );
    libvirturi = `test://${join(directory, 'node.xml')}`;
  });
  afterAll(async () => {
    await disks.stop();
    rmSync(directory, { recursive: true });
  });

  it('gets it from libvirt, and does not reveal it', async () => {
    const session = new SessionClient(scene.client, (await scene.client.createSession()).id);
    const events = await scene.client.subscribe(session.id);
    expect(await session.call('add_domain', { dom: 'kept', libvirturi })).toBe(1);
    await session.call('launch');
    await session.call('pwrite_device', { device: '/dev/sda', content: Buffer.from('written'), offset: 0n });
    const told = JSON.stringify(events.events, (_key, value: unknown) =>
      typeof value === 'bigint' ? String(value) : value,
    );
    const shown = [
      told,
      scene.server.log(),
      await scene.client.getLog(session.id),
      readFileSync(commands, 'utf8'),
      ...scene.server.machines().map(({ pid }) => readFileSync(`/proc/${pid}/cmdline`, 'latin1')),
    ].join('\n');
    expect(shown).toContain(`--secret=${UUID}`);
    expect(shown).not.toMatch(/sesame|c2VzYW1l/);
    events.cancel();
    await events.ended.catch(() => undefined);
    await scene.client.deleteSession(session.id);
    expect(readFileSync(join(scene.server.images, 'disk.img')).subarray(0, 7).toString()).toBe('written');
  });

  it('adds nothing if libvirt has none, or network drives are not allowed', async () => {
    const session = new SessionClient(scene.client, (await scene.client.createSession()).id);
    expect((await failureOf(session.call('add_domain', { dom: 'lost', libvirturi }))).details).toContain(
      "no secret for usage 'another' of type 'iscsi'",
    );
    const other = new SessionClient(cautious.client, (await cautious.client.createSession()).id);
    const before = readFileSync(commands, 'utf8');
    expect((await failureOf(other.call('add_domain', { dom: 'kept', libvirturi }))).info).toMatchObject({
      reason: 'NOT_ALLOWED',
    });
    expect(readFileSync(commands, 'utf8').slice(before.length)).not.toContain('secret');
  });
});

describeWithAppliance('a domain of the usual libvirt', () => {
  const directory = mkdtempSync(join(tmpdir(), 'usual-libvirt-'));
  const node = join(directory, 'node.xml');
  const scene = serverForTests({
    flags: ['--allow', 'host-actions', '--debug-service'],
    env: { LIBVIRT_DEFAULT_URI: `test://${node}` },
  });
  afterAll(() => rmSync(directory, { recursive: true }));

  it('gives its disks to add_libvirt_dom, by its name or its UUID', async () => {
    const image = emptyImage(join(scene.server.images, 'disk.img'), 8);
    writeFileSync(
      node,
      `<node>${describeDomain({ name: 'usual', uuid: UUID, disks: `<disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${image}"/><target dev="vda"/></disk>` })}</node>`,
    );
    for (const dom of ['usual', UUID]) {
      const one = new SessionClient(scene.client, (await scene.client.createSession()).id);
      expect(await one.call('add_libvirt_dom', { dom, readonly: true })).toBe(1);
      expect(await one.call('debug_drives')).toEqual([expect.stringContaining('disk.img readonly format=raw')]);
      await scene.client.deleteSession(one.id);
    }
  });
});
