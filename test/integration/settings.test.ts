/** Settings of a session have their effect on its machine, however they are made. */
import { mkdirSync, readdirSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import { builtAppliance, describeWhen } from '../support/appliance.js';
import { inGuest, linesInGuest } from '../support/launchKinds.js';
import { wrapQemu } from '../support/qemuWrapper.js';
import { serverForTests, type Scene } from '../support/scene.js';
import { SessionClient } from '../support/testClient.js';

const KIBIBYTE = 1 << 10;
/** What a kernel keeps of its memory for itself, at most. */
const KERNELS_PART = 0.8;

const newSession = async ({ client }: Scene): Promise<SessionClient> =>
  new SessionClient(client, (await client.createSession()).id);

const missing = ['trixie', 'bookworm'].filter((suite) => builtAppliance(suite) === undefined);
const whyNot =
  missing.length === 0 ? undefined : `there is no appliance: npm run appliance -- --suite ${missing.join(' and ')}`;

describeWhen('settings', whyNot, () => {
  // Cloned machines with other settings have their own templates, which take longer than a launch to create.
  const scene = serverForTests({
    flags: [
      '--launch',
      'cold',
      '--debug-service',
      '--allow',
      'host-actions',
      '--allow',
      'network',
      '--allow',
      'custom-qemu',
    ],
  });
  let directory: string;
  let wrapper: string;
  const made = (name: string): string => {
    mkdirSync(join(directory, name), { mode: 0o755 });
    return join(directory, name);
  };

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'settings-'));
    await chmod(directory, 0o755);
    wrapper = await wrapQemu(join(directory, 'qemu'), 'set -- "$@" -smbios type=2,serial=by-the-wrapper');
  });
  afterAll(() => rm(directory, { recursive: true }));

  /** Memory in MiB, processors, and the words of the kernel's command line. */
  const machineOf = async (
    session: SessionClient,
  ): Promise<{ memory: number; processors: number; words: string[] }> => {
    const [memory, processors, line] = await Promise.all(
      ['grep MemTotal /proc/meminfo', 'nproc', 'cat /proc/cmdline'].map((script) => inGuest(session, script)),
    );
    return {
      memory: Number(/\d+/.exec(memory ?? '')?.[0]) / KIBIBYTE,
      processors: Number(processors),
      words: (line ?? '').trim().split(' '),
    };
  };
  const expectMemory = (memory: number, given: number): void => {
    expect(memory).toBeLessThan(given);
    expect(memory).toBeGreaterThan(given * KERNELS_PART);
  };
  const isThere = async (session: SessionClient, path: string): Promise<boolean> =>
    (await inGuest(session, `test -e ${path} && echo yes || echo no`)).trim() === 'yes';

  it('that are made one by one are those of the machine', async () => {
    const session = await newSession(scene);
    const [temporary, caches] = [made('temporary'), made('caches')];
    const set: readonly (readonly [string, object, unknown])[] = [
      ['append', { append: 'first.test=1 second.test' }, 'first.test=1 second.test'],
      ['smp', { smp: 2 }, 2],
      ['memsize', { memsize: 900 }, 900],
      ['selinux', { selinux: true }, true],
      ['network', { network: true }, true],
      ['identifier', { identifier: 'by-setters' }, 'by-setters'],
      ['tmpdir', { tmpdir: temporary }, temporary],
      ['cachedir', { cachedir: caches }, caches],
      ['path', { searchpath: builtAppliance('bookworm') }, builtAppliance('bookworm')],
    ];
    for (const [name, request, value] of set) {
      await session.call(`set_${name}`, request);
      expect([name, await session.call(`get_${name}`)]).toEqual([name, value]);
    }
    expect(await session.call('get_sockdir')).toBe(temporary);
    await session.call('add_drive_scratch', { size: 1n << 20n });
    await session.call('launch');

    const { memory, processors, words } = await machineOf(session);
    expect(processors).toBe(2);
    expectMemory(memory, 900);
    expect(words).toEqual(
      expect.arrayContaining([
        'first.test=1',
        'second.test',
        'selinux=1',
        'enforcing=0',
        'guestfs_network=1',
        'guestfs_identifier=by-setters',
      ]),
    );
    expect(await isThere(session, '/sys/class/net/eth0')).toBe(true);
    expect((await scene.client.getSession(session.id)).daemon_version).toMatch(/^1\.48\./);
    // The machine's own directory exists while it runs, and the default location is empty.
    expect(readdirSync(temporary)).toHaveLength(1);
    expect(readdirSync(scene.server.temporary)).toEqual([]);
    expect(readdirSync(caches, { recursive: true })).not.toEqual([]);
    await scene.client.deleteSession(session.id);
    expect(readdirSync(temporary)).toEqual([]);
  });

  it('that are left alone are the defaults, and unset ones are again', async () => {
    const session = await newSession(scene);
    const names = [
      'append',
      'smp',
      'memsize',
      'selinux',
      'network',
      'identifier',
      'tmpdir',
      'cachedir',
      'path',
      'hv',
    ] as const;
    const all = (): Promise<unknown[]> => Promise.all(names.map((name) => session.call(`get_${name}`)));
    const defaults = await all();
    await session.call('set_append', { append: 'x' });
    await session.call('set_tmpdir', { tmpdir: directory });
    await session.call('set_cachedir', { cachedir: directory });
    await session.call('set_path', { searchpath: '/nowhere' });
    await session.call('set_qemu', { hv: '/nowhere' });
    expect(await all()).not.toEqual(defaults);
    for (const name of ['append', 'tmpdir', 'cachedir', 'path', 'qemu']) await session.call(`set_${name}`);
    expect(await all()).toEqual(defaults);
    await scene.client.deleteSession(session.id);
  });

  it('of the environment are those of the machine: parse_environment_list', async () => {
    const session = await newSession(scene);
    const { events, cancel, ended } = await scene.client.subscribe(session.id, [EventType.TRACE]);
    const temporary = made('temporary-of-environment');
    await session.call('parse_environment_list', {
      environment: [
        'LIBGUESTFS_APPEND=environment.test=1',
        'LIBGUESTFS_MEMSIZE=800',
        `LIBGUESTFS_TMPDIR=${temporary}`,
        `LIBGUESTFS_HV=${wrapper}`,
        'LIBGUESTFS_DEBUG=1',
        'LIBGUESTFS_TRACE=1',
        'LIBGUESTFS_BACKEND_SETTINGS=force_tcg:other=value',
        'HOME=/nowhere',
        'LIBGUESTFS_MEMSIZE=300',
      ],
    });
    await session.call('config', { hvparam: '-smbios', hvvalue: 'type=1,serial=by-config' });
    expect(
      await Promise.all(
        ['append', 'memsize', 'tmpdir', 'hv', 'verbose', 'trace', 'backend_settings'].map((name) =>
          session.call(`get_${name}`),
        ),
      ),
    ).toEqual(['environment.test=1', 800, temporary, wrapper, true, true, ['force_tcg', 'other=value']]);
    expect(await session.call('get_backend_setting', { name: 'force_tcg' })).toBe('1');
    await session.call('add_drive_scratch', { size: 1n << 20n });
    await session.call('launch');

    const { memory, processors, words } = await machineOf(session);
    expectMemory(memory, 800);
    expect(processors).toBe(1);
    expect(words).toEqual(expect.arrayContaining(['environment.test=1', 'selinux=0', 'guestfs_verbose=1']));
    expect(words.filter((word) => word.startsWith('guestfs_network'))).toEqual([]);
    expect(await isThere(session, '/sys/class/net/eth0')).toBe(false);
    expect(await linesInGuest(session, 'cd /sys/class/dmi/id; cat product_serial board_serial')).toEqual([
      'by-config',
      'by-the-wrapper',
    ]);
    expect(readdirSync(temporary)).toHaveLength(1);
    expect(await scene.client.getLog(session.id)).toContain('guestfsd: => ');
    expect(events.length).toBeGreaterThan(0);
    cancel();
    await ended.catch(() => undefined);
    await scene.client.deleteSession(session.id);
  });

  it.each([
    [['LIBGUESTFS_MEMSIZE=much'], 'non-numeric value for LIBGUESTFS_MEMSIZE'],
    [['LIBGUESTFS_MEMSIZE=10'], 'too small value for memsize'],
    [['LIBGUESTFS_DEBUG=perhaps'], 'LIBGUESTFS_DEBUG=perhaps: non-boolean value'],
    [['LIBGUESTFS_BACKEND=libvirt'], 'invalid backend: libvirt'],
    [['LIBGUESTFS_TMPDIR=/etc/passwd'], 'is not a directory'],
  ])('that make no sense are refused: %j', async (environment, why) => {
    const session = await newSession(scene);
    expect(await session.failure('parse_environment_list', { environment })).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(why),
      info: { reason: 'BAD_ARGUMENT' },
    });
    await scene.client.deleteSession(session.id);
  });

  it('of a directory that is not there fail with its errno', async () => {
    const session = await newSession(scene);
    const environment = ['LIBGUESTFS_TMPDIR=/no/such/directory'];
    expect(await session.failure('parse_environment_list', { environment })).toMatchObject({
      code: status.NOT_FOUND,
      info: { reason: 'ENOENT' },
    });
    await scene.client.deleteSession(session.id);
  });

  it('that lead nowhere show at the launch', async () => {
    const session = await newSession(scene);
    await session.call('add_drive_scratch', { size: 1n << 20n });
    await session.call('set_path', { searchpath: '/no/such/appliance' });
    expect(await session.failure('launch')).toMatchObject({ info: { reason: 'APPLIANCE_MISSING' } });
    await session.call('set_path');
    await session.call('set_hv', { hv: '/no/such/qemu' });
    expect(await session.failure('launch')).toMatchObject({ info: { reason: 'QEMU_MISSING' } });
    await scene.client.deleteSession(session.id);
  });
});

describe('settings that reach beyond a session, on a server that does not allow it', () => {
  const scene = serverForTests();

  it.each<[string, object, string]>([
    ['set_append', { append: 'x' }, 'host-actions'],
    ['set_path', { searchpath: '/' }, 'host-actions'],
    ['set_tmpdir', { tmpdir: '/tmp' }, 'host-actions'],
    ['set_cachedir', { cachedir: '/tmp' }, 'host-actions'],
    ['set_backend', { backend: 'direct' }, 'host-actions'],
    ['set_backend_setting', { name: 'force_tcg', val: '1' }, 'host-actions'],
    ['parse_environment', {}, 'host-actions'],
    ['parse_environment_list', { environment: ['LIBGUESTFS_MEMSIZE=800'] }, 'host-actions'],
    ['set_hv', { hv: '/bin/true' }, 'custom-qemu'],
    ['set_qemu', { hv: '/bin/true' }, 'custom-qemu'],
    ['config', { hvparam: '-device', hvvalue: 'x' }, 'custom-qemu'],
    ['set_network', { network: true }, 'network'],
  ])('are refused with what allows them: %s', async (action, request, setting) => {
    const session = await newSession(scene);
    const failure = await session.failure(action, request);
    expect(failure).toMatchObject({
      code: status.PERMISSION_DENIED,
      info: { reason: 'NOT_ALLOWED', metadata: { action, setting: `--allow ${setting}` } },
    });
    expect(failure.details).toContain(`--allow ${setting}`);
    await scene.client.deleteSession(session.id);
  });
});
