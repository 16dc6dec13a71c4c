/** Two clients with certificates of one authority: no call of the one reaches an image of the other. */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { allActions } from '../../../src/actions/areas.js';
import { hasRpc } from '../../../src/actions/shape.js';
import type { ActionDef } from '../../../src/actions/types.js';
import { silentLogger } from '../../../src/common/logger.js';
import type { Drive } from '../../../src/images/drive.js';
import { openImageChain } from '../../../src/images/imageChain.js';
import { ownDirectories } from '../../../src/security/ownDirectories.js';
import { ALLOWABLE, type Allowable } from '../../../src/security/policy.js';
import { RolePolicy } from '../../../src/security/rolePolicy.js';
import { startAuthority, startSecureServer, type Authority, type SecureServer } from '../../fakes/secureServer.js';
import type { LaunchRequest } from '../../fakes/fakeLauncher.js';
import { callExample, decodedExample, outcomeOf } from '../../support/exampleCalls.js';
import { describeDomain } from '../../support/libvirtDomains.js';
import { overlayImage } from '../images/scene.js';
import { failureOf, imageDrive, scratchDrive, SessionClient, type TestClient } from '../../support/testClient.js';

let authority: Authority;
let root: string;
beforeAll(() => {
  authority = startAuthority();
  root = realpathSync(mkdtempSync(join(tmpdir(), 'guestfs-grpc-owners-')));
});
afterAll(() => {
  authority.end();
  rmSync(root, { recursive: true });
});

async function sessionOf(client: TestClient): Promise<SessionClient> {
  return new SessionClient(client, (await client.createSession()).id);
}
const serverPolicy = () => ({ imageRoots: { directories: [root] }, allowed: new Set<never>() });

/** What the launcher is asked for. */
async function launchOf(server: SecureServer, session: SessionClient): Promise<LaunchRequest> {
  await session.call('add_drive_scratch', { size: 512n });
  const launching = session.call('launch');
  const request = await server.launcher.request();
  request.fail(new Error('the fake launches nothing'));
  await failureOf(launching);
  return request;
}

/** Every way to name a file of the host before a session is launched. */
const CALLS: readonly (readonly [name: string, (path: string) => object])[] = [
  ['add_drive', (filename) => ({ filename })],
  ['add_drive', (filename) => ({ filename, readonly: true, format: 'raw' })],
  ['add_drive_ro', (filename) => ({ filename })],
  ['add_cdrom', (filename) => ({ filename })],
  ['add_drive_with_if', (filename) => ({ filename, iface: 'ide' })],
  ['add_drive_ro_with_if', (filename) => ({ filename, iface: 'ide' })],
  ['disk_create', (filename) => ({ filename, format: 'raw', size: 512n })],
  ['disk_create', (filename) => ({ filename, format: 'qcow2', size: 512n, overwrite: true })],
  [
    'disk_create',
    (backingfile) => ({ filename: 'over.qcow2', format: 'qcow2', size: -1n, backingfile, backingformat: 'raw' }),
  ],
  ['disk_format', (filename) => ({ filename })],
  ['disk_virtual_size', (filename) => ({ filename })],
  ['disk_has_backing_file', (filename) => ({ filename })],
];

describe('without a policy', () => {
  let server: SecureServer;
  let alice: TestClient;
  let bob: TestClient;
  let image: string;
  beforeAll(async () => {
    server = await startSecureServer(authority, { access: ownDirectories(serverPolicy(), silentLogger) });
    [alice, bob] = [server.client({ subject: '/CN=alice' }), server.client({ subject: '/CN=bob' })];
    image = join(root, 'cn%3Aalice/disk.img');
    await (await sessionOf(alice)).call('disk_create', { filename: 'disk.img', format: 'raw', size: 1n << 20n });
    writeFileSync(image, `${readFileSync(image, 'latin1').slice(5)}hello`);
  });
  afterAll(() => server.stop());

  it('an image is in the directory of its creator', async () => {
    expect(readFileSync(image).subarray(-5).toString()).toBe('hello');
    const session = await sessionOf(alice);
    await session.call('add_drive', { filename: image });
    expect(await session.call('disk_virtual_size', { filename: 'disk.img' })).toBe(1n << 20n);
    expect(await session.failure('disk_create', { filename: 'disk.img', format: 'raw', size: 1n })).toMatchObject({
      info: { reason: 'EEXIST' },
    });
  });

  it.each(CALLS)('no other identity has access to it with %s', async (name, request) => {
    const session = await sessionOf(bob);
    for (const path of [image, '../cn%3Aalice/disk.img']) {
      const failure = await session.failure(name, request(path));
      expect(failure.info?.reason).toBe('OUTSIDE_IMAGE_ROOTS');
      // Whether the file exists or not.
      expect((await session.failure(name, request(`${path}x`))).info?.reason).toBe('OUTSIDE_IMAGE_ROOTS');
    }
    expect(readFileSync(image).subarray(-5).toString()).toBe('hello');
    await bob.deleteSession(session.id);
  });

  it('no other identity has access to it with CreateSession or Inspect', async () => {
    for (const drive of [imageDrive(image), imageDrive('../cn%3Aalice/disk.img', { writable: true })]) {
      expect((await failureOf(bob.createSession({ drives: [drive] }))).info?.reason).toBe('OUTSIDE_IMAGE_ROOTS');
    }
    const inspected = bob.inspect({
      drives: [{ source: { $case: 'path', value: image }, format: 'raw', backing_formats: [] }],
    });
    expect((await failureOf(inspected)).info?.reason).toBe('OUTSIDE_IMAGE_ROOTS');
  });

  it('no other identity has access to it through its own image', async () => {
    const own = join(root, 'cn%3Abob');
    for (const [index, backing] of [image, '../cn%3Aalice/disk.img'].entries()) {
      const path = join(own, `chain${index}.qcow2`);
      overlayImage(path, backing);
      const launching = bob.createSession({ drives: [imageDrive(path, { format: 'qcow2' })], launch: true });
      const machine = server.launcher.request(index);
      const { config } = await machine;
      // The way in which the launcher opens it.
      const { source } = config.drives[0] as Drive;
      if (source.kind !== 'file') throw new Error('the drive is not a file');
      const opening = openImageChain(
        source.path,
        'qcow2',
        'read-only',
        { ...source.roots, backingFiles: true },
        () => undefined,
      );
      await expect(opening).rejects.toMatchObject({ reason: 'OUTSIDE_IMAGE_ROOTS' });
      (await machine).fail(new Error('the fake opens nothing'));
      await failureOf(launching);
    }
  });
});

/** Actions that a permission is needed for, whatever they are called with. */
const needing = allActions.filter(
  (action) => hasRpc(action) && action.notOverNetwork === undefined && hostPermissions(action).length > 0,
);
function hostPermissions({ permissions = [] }: ActionDef): Allowable[] {
  return permissions
    .filter(({ when }) => when === undefined)
    .map(({ permission }) => permission)
    .filter((permission) => (ALLOWABLE as readonly string[]).includes(permission));
}

describe('host actions', () => {
  const allowed = new Set(ALLOWABLE);
  let server: SecureServer;
  let alice: TestClient;
  let bob: TestClient;
  let own: string;
  beforeAll(async () => {
    server = await startSecureServer(authority, {
      access: ownDirectories({ ...serverPolicy(), allowed }, silentLogger),
      debugService: true,
    });
    [alice, bob] = [server.client({ subject: '/CN=alice' }), server.client({ subject: '/CN=bob' })];
    await bob.createSession();
    own = join(root, 'cn%3Aalice');
    mkdirSync(join(own, 'directory'), { recursive: true });
    mkdirSync(join(root, 'cn%3Abob'), { recursive: true });
  });
  afterAll(() => server.stop());

  it('are many', () => {
    const names = needing.map(({ name }) => name);
    for (const name of [
      'add_domain',
      'set_path',
      'set_hv',
      'set_tmpdir',
      'set_cachedir',
      'parse_environment',
      'config',
    ])
      expect(names).toContain(name);
  });

  it('are granted to all identities without a policy', async () => {
    for (const client of [alice, bob]) {
      const session = await sessionOf(client);
      for (const action of needing) {
        const outcome = await outcomeOf(callExample(session, action));
        expect([action.name, outcome?.reason]).not.toEqual([action.name, 'NOT_ALLOWED']);
      }
    }
  });

  it('reach no directory of another identity', async () => {
    const session = await sessionOf(bob);
    symlinkSync(own, join(root, 'cn%3Abob/link'));
    const paths = [
      own,
      join(own, 'directory'),
      join(own, 'nosuch'),
      root,
      join(root, 'cn%3Abob/../cn%3Aalice'),
      join(root, 'cn%3Abob/link'),
    ];
    for (const path of paths) {
      for (const [name, request] of [
        ['set_tmpdir', { tmpdir: path }],
        ['set_cachedir', { cachedir: path }],
        ['set_path', { searchpath: path }],
        ['set_path', { searchpath: `/nosuch:${path}` }],
        ['set_hv', { hv: `${path}/qemu` }],
        ['set_qemu', { hv: path }],
        ...['TMPDIR', 'LIBGUESTFS_TMPDIR', 'LIBGUESTFS_CACHEDIR', 'LIBGUESTFS_PATH', 'LIBGUESTFS_HV'].map(
          (variable) => ['parse_environment_list', { environment: [`${variable}=${path}`] }] as const,
        ),
      ] as const)
        expect([path, name, (await session.failure(name, request)).info?.reason]).toEqual([
          path,
          name,
          'OUTSIDE_IMAGE_ROOTS',
        ]);
    }
    for (const get of ['tmpdir', 'cachedir', 'path', 'hv'])
      expect(await session.call(`get_${get}`)).not.toContain(root);
  });

  it('reach one of the identity, and others of the host', async () => {
    const session = await sessionOf(alice);
    for (const directory of [join(own, 'directory'), realpathSync(authority.directory)]) {
      await session.call('set_tmpdir', { tmpdir: directory });
      expect(await session.call('get_tmpdir')).toBe(directory);
      await session.call('set_path', { searchpath: directory });
      await session.call('set_hv', { hv: `${directory}` });
    }
  });

  it('take no image of another identity from libvirt', async () => {
    writeFileSync(join(own, 'secret.img'), Buffer.alloc(4096));
    const source = `<source file="${join(own, 'secret.img')}"/>`;
    const disks = `<disk type="file" device="disk">${source}<target dev="vda"/></disk>`;
    const node = join(authority.directory, 'node.xml');
    writeFileSync(node, `<node>${describeDomain({ name: 'tempting', disks })}</node>`);
    const request = { dom: 'tempting', libvirturi: `test://${node}`, readonly: true };
    const refused = await (await sessionOf(bob)).failure('add_domain', request);
    // Without virsh nobody gets anything.
    if (refused.info?.reason !== 'ENOTSUP') {
      expect(refused.info?.reason).toBe('OUTSIDE_IMAGE_ROOTS');
      expect(refused.details).toContain('disk 1 of the domain');
      expect(refused.details).not.toContain(own);
      const session = await sessionOf(alice);
      expect(await session.call('add_domain', request)).toBe(1);
      expect(await session.call('debug_drives')).toEqual([expect.stringMatching(/^secret\.img readonly/)]);
    }
  });

  it('are those of the role, with a policy', async () => {
    const file = join(root, 'actions.yaml');
    writeFileSync(
      file,
      `roles:
  able: { permissions: [${[...allowed].join(', ')}], images: [{ path: "{identity}", access: write }] }
  unable: { images: [{ path: "{identity}", access: write }] }
identities:
  - { match: ["cn:alice"], role: able }
  - { match: ["cn:bob"], role: unable }
`,
    );
    const access = await RolePolicy.read(file, { ...serverPolicy(), allowed });
    const limited = await startSecureServer(authority, { access, debugService: true });
    try {
      const able = await sessionOf(limited.client({ subject: '/CN=alice' }));
      const unable = await sessionOf(limited.client({ subject: '/CN=bob' }));
      for (const action of needing) {
        const setting = hostPermissions(action).map((permission) => `--allow ${permission}`)[0] ?? '';
        const refused = await unable.failure(action.name, decodedExample(action));
        expect([action.name, refused.info?.reason, refused.info?.metadata['setting']]).toEqual([
          action.name,
          'NOT_ALLOWED',
          setting,
        ]);
        const outcome = await outcomeOf(callExample(able, action));
        expect([action.name, outcome?.reason]).not.toEqual([action.name, 'NOT_ALLOWED']);
      }
      for (const name of ['set_tmpdir', 'set_cachedir'])
        expect(
          (await able.failure(name, { tmpdir: join(root, 'cn%3Abob'), cachedir: join(root, 'cn%3Abob') })).info?.reason,
        ).toBe('OUTSIDE_IMAGE_ROOTS');
    } finally {
      await limited.stop();
    }
  });

  it('that need no permission reach no file: backend settings', async () => {
    const session = await sessionOf(bob);
    for (const setting of [`gdb=${own}`, `network_bridge=${own}`, `internal_libvirt_imagelabel=${own}`]) {
      await session.call('set_backend_settings', { settings: [setting] });
      const [name = ''] = setting.split('=');
      expect(await session.call('get_backend_setting', { name })).toBe(own);
    }
    expect((await session.failure('set_backend', { backend: `libvirt:test://${own}` })).info?.reason).toBe(
      'BAD_ARGUMENT',
    );
    const { config } = await launchOf(server, session);
    expect(
      JSON.stringify(config, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
    ).not.toContain(own);
  });
});

describe('with a policy', () => {
  it('has the role in its entry', async () => {
    mkdirSync(join(root, 'shared'));
    writeFileSync(join(root, 'shared/os.img'), Buffer.alloc(4096));
    const file = join(root, 'policy.yaml');
    writeFileSync(
      file,
      `roles:
  reader: { calls: [read, CreateSession, DeleteSession, DriveService], images: [{ path: shared, access: read }], limits: { sessions: 1 } }
identities:
  - { match: ["cn:carol"], role: reader }
`,
    );
    const server = await startSecureServer(authority, { access: await RolePolicy.read(file, serverPolicy()) });
    try {
      const [carol, dave] = [server.client({ subject: '/CN=carol' }), server.client({ subject: '/CN=dave' })];
      expect(await failureOf(dave.createSession())).toMatchObject({ code: 7, info: { reason: 'NOT_ALLOWED' } });
      const written = imageDrive('os.img', { writable: true });
      expect((await failureOf(carol.createSession({ drives: [written] }))).info?.reason).toBe('NOT_ALLOWED');
      const { id } = await carol.createSession({ drives: [imageDrive('os.img', { writable: false })] });
      expect((await failureOf(carol.createSession())).info).toMatchObject({
        reason: 'TOO_MANY_SESSIONS',
        metadata: { limit: '1' },
      });
      const session = new SessionClient(carol, id);
      expect(await session.call('disk_virtual_size', { filename: 'os.img' })).toBe(4096n);
      expect((await session.failure('set_memsize', { memsize: 600 })).info?.reason).toBe('NOT_ALLOWED');
      for (const [name, request] of [
        ['add_drive', {}],
        ['add_drive', { readonly: false, format: 'raw' }],
        ['add_drive_with_if', { iface: 'ide' }],
      ] as const)
        expect((await session.failure(name, { filename: 'os.img', ...request })).info?.reason).toBe('NOT_ALLOWED');
      await session.call('add_drive', { filename: 'os.img', readonly: true });
      const disk = { filename: 'os.img', format: 'raw', size: 1n, overwrite: true };
      expect((await session.failure('disk_create', disk)).info?.reason).toBe('NOT_ALLOWED');
      expect(readFileSync(join(root, 'shared/os.img'))).toHaveLength(4096);
    } finally {
      await server.stop();
    }
  });

  it('has the limits of its role instead of those of the flags', async () => {
    const file = join(root, 'limits.yaml');
    mkdirSync(join(root, 'made'));
    const limits = 'sessions: 3, memory: 600, cpus: 2, drives: 2, disk_bytes: 2097152';
    const roles = (text: string): void =>
      writeFileSync(
        file,
        `roles:
  tenant: { images: [{ path: made, access: write }], limits: { ${text} } }
  other: { images: [{ path: made, access: write }] }
identities:
  - { match: ["cn:erin"], role: tenant }
  - { match: ["cn:frank"], role: other }
`,
      );
    roles(limits);
    const access = await RolePolicy.read(file, serverPolicy());
    const budget = { sessions: 1, memsizeMb: 1, smp: 1, drives: 1 };
    const server = await startSecureServer(authority, { access, budget, diskBytes: 4096 });
    const refusal = (limit: string, maximum: number): object => ({
      code: 8,
      info: { reason: 'LIMIT_EXCEEDED', metadata: expect.objectContaining({ limit, maximum: String(maximum) }) },
    });
    try {
      const [erin, frank] = [server.client({ subject: '/CN=erin' }), server.client({ subject: '/CN=frank' })];
      const scratch = scratchDrive(512);
      const settings = (memsize: number, smp: number) => ({ settings: { memsize, smp }, launch: true });
      expect(await failureOf(erin.createSession({ drives: [scratch], ...settings(601, 1) }))).toMatchObject(
        refusal('max-memory-per-client', 600),
      );
      expect(await failureOf(erin.createSession({ drives: [scratch], ...settings(600, 3) }))).toMatchObject(
        refusal('max-cpus-per-client', 2),
      );
      const three = { drives: [scratch, scratch, scratch], ...settings(600, 2) };
      expect(await failureOf(erin.createSession(three))).toMatchObject(refusal('max-drives-per-client', 2));
      expect(await failureOf(frank.createSession({ drives: [scratch], ...settings(512, 1) }))).toMatchObject(
        refusal('max-memory-per-client', 1),
      );
      const session = await sessionOf(erin);
      const disk = (filename: string, size: bigint, format = 'raw') => ({ filename, format, size });
      await session.call('disk_create', disk('one.img', 1n << 20n));
      expect(await session.failure('disk_create', disk('two.qcow2', (1n << 20n) + 1n, 'qcow2'))).toMatchObject(
        refusal('max-disk-bytes-per-client', 2097152),
      );
      expect(readdirSync(join(root, 'made'))).toEqual(['one.img']);
      await session.call('disk_create', disk('two.qcow2', 1n << 20n, 'qcow2'));
      // Both may write there, and so it counts for both.
      const other = await sessionOf(frank);
      expect(await other.failure('disk_create', disk('x.img', 1n))).toMatchObject(
        refusal('max-disk-bytes-per-client', 4096),
      );
      roles('disk_bytes: 0');
      await access.reload();
      expect(await session.failure('disk_create', disk('x.img', 1n))).toMatchObject(
        refusal('max-disk-bytes-per-client', 0),
      );
    } finally {
      await server.stop();
    }
  });
});
