/** The errors in the reference: each of them is provoked, and where the reference has none, none happens. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, posix } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { allActions } from '../../src/actions/areas.js';
import { hasRpc } from '../../src/actions/shape.js';
import type { AbsentPath, ActionDef } from '../../src/actions/types.js';
import { absentPath, deviceArguments, knownErrors, pathArguments } from '../../src/generator/knownErrors.js';
import { needsDaemon } from '../../src/actions/shape.js';
import { DaemonVersion } from '../../src/protocol/daemonVersion.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { actionNamed, callWith, decodedExample, outcomeOf } from '../support/exampleCalls.js';
import { fillExampleGuest } from '../support/guests/exampleGuest.js';
import { writeTree } from '../support/guests/guest.js';
import { inGuest } from '../support/launchKinds.js';
import { holdImage, type LockHolder } from '../support/lockHolder.js';
import { launchSession, serverForTests, settings } from '../support/scene.js';
import { imageDrive, scratchDrive, SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const FILE = '/tmp/file';
const NEW = '/tmp/new';
const NO_DEVICE = '/dev/sdz';
const DEVICE_KINDS = ['device', 'mountable', 'dev_or_path', 'mountable_or_path'];

const served = allActions.filter(
  (action) => hasRpc(action) && action.visibility !== 'debug' && action.notOverNetwork === undefined,
);
/** Actions that do something in an appliance. */
const inAppliance = served.filter(needsDaemon);

/** Errors that apply to all actions of their kind, and have separate tests. */
const GENERAL = new Set(['MESSAGE_TOO_LARGE', 'CANCELLED', 'ENOTSUP', 'ACTION_NOT_IN_DAEMON']);

/** What fails on the host, whichever action promises that it has not. */
const OF_THE_HOST = new Set(['EIO', 'ENOSPC', 'IMAGE_CHANGED']);

/** What is not made to happen here, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'launch KVM_UNUSABLE': 'needs a host without KVM; see launch.test.ts',
  'add_drive NOT_ALLOWED': 'see remoteDrives.test.ts',
  'mount NTFS_HIBERNATED': 'see errors.test.ts',
  'mount_options NTFS_HIBERNATED': 'see errors.test.ts',
  'mount_vfs NTFS_HIBERNATED': 'see errors.test.ts',
  'write OUT_OF_MEMORY': 'see requestLimit.test.ts',
  'write_append OUT_OF_MEMORY': 'see requestLimit.test.ts',
};

/** Requests that need more space than the example's. */
const LARGER: Readonly<Record<string, object>> = {
  lsetxattr: { val: 'x'.repeat(500), vallen: 500 },
  pwrite: { offset: BigInt(MEBIBYTE) },
  setxattr: { val: 'x'.repeat(500), vallen: 500 },
  upload_offset: { offset: BigInt(MEBIBYTE) },
  write_append: { content: Buffer.alloc(MEBIBYTE) },
};

/** Where the examples' Btrfs is here. */
const BTRFS_SOURCE: Readonly<Record<string, object>> = { btrfs_image: { source: ['/dev/sdd'] } };

/** Actions that may need space on the file system of the guest's root. */
const needsSpace = ({ name, args, mutating }: ActionDef): boolean =>
  mutating &&
  !/^(btrfs|xfs|aug|hivex|inotify|journal)_|mount|rsync_|swap/.test(name) &&
  args.some((argument) => 'kind' in argument && ['pathname', 'dev_or_path'].includes(argument.kind));

/** The tools' messages for it, where the daemon has no errno. */
const NO_SPACE =
  /No space left|write error|base64 subcommand failed|mklost\+found: command failed|failed to make directory/;

/** Errors that were seen: action and reason. */
const happened = new Set<string>();

describeWithAppliance('a server that allows nothing', () => {
  const scene = serverForTests();

  it('refuses exactly the actions that are refused according to the reference', async () => {
    const config = new SessionClient(scene.client, (await scene.client.createSession()).id);
    const ready = await launchSession(scene.client, [scratchDrive(MEBIBYTE)]);
    const wrong: unknown[] = [];
    for (const action of served.filter(
      ({ impl, name }) => impl === 'library' && !['launch', 'shutdown', 'kill_subprocess'].includes(name),
    )) {
      const found = await outcomeOf(callWith(needsDaemon(action) ? ready : config, action, decodedExample(action)));
      const always = action.permissions?.some(({ purpose }) => purpose === undefined) ?? false;
      // The network is turned on by the example.
      const refused = always || action.name === 'set_network';
      if (refused !== (found?.reason === 'NOT_ALLOWED')) wrong.push([action.name, found]);
      if (found?.reason === 'NOT_ALLOWED') {
        happened.add(`${action.name} NOT_ALLOWED`);
        if (!action.permissions?.some(({ permission }) => found.text.includes(`--allow ${permission}`)))
          wrong.push([action.name, found]);
      }
    }
    expect(wrong).toEqual([]);
  });
});

describeWithAppliance('the errors that the reference tells of', () => {
  const libvirt = mkdtempSync(join(tmpdir(), 'known-errors-'));
  const scene = serverForTests({
    env: { LIBVIRT_DEFAULT_URI: `test://${join(libvirt, 'node.xml')}`, LIBGUESTFS_BACKEND: 'libvirt' },
    flags: [
      '--debug-service',
      '--allow',
      'host-actions',
      '--allow',
      'custom-qemu',
      '--allow',
      'network',
      '--max-memsize',
      String(1 << 30),
      '--max-smp',
      '8',
    ],
  });
  let session: SessionClient;
  let config: SessionClient;
  let actions: readonly ActionDef[];

  /** The reason that a call fails for, which is noted. */
  const fails = async (
    action: ActionDef,
    given: object = {},
    on = session,
  ): Promise<{ readonly reason: string; readonly text: string } | undefined> => {
    const outcome = await outcomeOf(callWith(on, action, { ...decodedExample(action), ...given }));
    if (outcome !== undefined) happened.add(`${action.name} ${outcome.reason}`);
    return outcome;
  };
  /** Puts files back to where examples expect them. */
  const fresh = (): Promise<string> =>
    inGuest(session, `cd /sysroot; rm -rf tmp/new tmp/link missing* */missing*; echo something > ${FILE.slice(1)}`);
  const mountRoot = (device: string): Promise<unknown> =>
    session.call('umount_all').then(() => session.call('mount', { mountable: device, mountpoint: '/' }));

  beforeAll(async () => {
    const root = scene.server.images;
    emptyImage(join(root, 'guest.img'), 40);
    emptyImage(join(root, 'disk.img'), 1);
    mkdirSync(join(root, 'directory'));
    mkdirSync(join(root, 'files'));
    mkdirSync(join(root, 'received'));
    writeFileSync(join(root, 'files', 'hello'), 'hello\n');
    const domain = (
      name: string,
      state: number,
      disk: string,
    ): string => `<domain type="test" xmlns:test="http://libvirt.org/schemas/domain/test/1.0"><name>${name}</name><uuid>${randomUUID()}</uuid><memory>65536</memory>
      <os><type>hvm</type></os><devices><disk type="file" device="disk"><driver name="qemu" type="raw"/><source file="${disk}"/><target dev="vda"/></disk></devices><test:runstate>${state}</test:runstate></domain>`;
    writeFileSync(
      join(libvirt, 'node.xml'),
      `<node>${domain('running', 1, join(root, 'disk.img'))}${domain('outside', 5, '/etc/passwd')}${domain('missing', 5, join(root, 'missing.img'))}${domain('unusable', 5, join(root, 'directory'))}</node>`,
    );
    session = await launchSession(scene.client, [
      imageDrive('guest.img'),
      scratchDrive(4 * MEBIBYTE),
      scratchDrive(16 * MEBIBYTE),
      scratchDrive(128 * MEBIBYTE),
    ]);
    config = new SessionClient(scene.client, (await scene.client.createSession()).id);
    const daemon = new DaemonVersion((await scene.client.getSession(session.id)).daemon_version);
    actions = inAppliance.filter(({ impl, since }) => impl === 'library' || daemon.atLeast(since));
    await fillExampleGuest(session);
    await session.call('part_disk', { device: '/dev/sdb', parttype: 'gpt' });
    await session.call('umount_all');
  });

  afterAll(() => rmSync(libvirt, { recursive: true, force: true }));

  it('without a file system on /', async () => {
    const wrong: unknown[] = [];
    for (const action of actions.filter((one) => pathArguments(one).length > 0)) {
      const either = action.args
        .filter((argument) => 'kind' in argument && argument.kind.endsWith('_or_path'))
        .map(({ name }) => [name, '/etc/hostname']);
      const found = await fails(action, Object.fromEntries(either) as object);
      if (found?.reason !== 'DAEMON_ERROR' || !found.text.includes("you must call 'mount' first"))
        wrong.push([action.name, found]);
    }
    await session.call('mount', { mountable: '/dev/sda1', mountpoint: '/' });
    expect(wrong).toEqual([]);
  });

  it('with nothing opened', async () => {
    const openers = new Set(allActions.flatMap(({ openedBy }) => openedBy ?? []));
    // Others that begin like their opener, such as inspect_get_roots, seem to work on what it opens, and do not.
    const family = (name: string): string | undefined => name.split('_')[0];
    const families = new Set([...openers].map(family));
    const wrong: unknown[] = [];
    for (const action of actions.filter(({ name }) => families.has(family(name)) && !openers.has(name))) {
      const found = await fails(action);
      if (found?.reason !== (action.openedBy === undefined ? undefined : 'DAEMON_ERROR'))
        wrong.push([action.name, found]);
    }
    expect(wrong).toEqual([]);
  });

  it('of devices that are not there', async () => {
    const wrong: unknown[] = [];
    for (const action of actions) {
      for (const argument of action.args.filter((one) => 'kind' in one && DEVICE_KINDS.includes(one.kind))) {
        const found = await fails(action, {
          [argument.name]: argument.type === 'string_list' ? [NO_DEVICE] : NO_DEVICE,
        });
        if (deviceArguments(action).includes(argument.name) !== (found?.reason === 'ENOENT'))
          wrong.push([action.name, argument.name, found]);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('of paths that are not there', async () => {
    await session.call('mkfs', { fstype: 'btrfs', device: '/dev/sdd' });
    await session.call('mount', { mountable: '/dev/sdd', mountpoint: '/data' });
    await session.call('btrfs_subvolume_create', { dest: '/data/home' });
    await session.call('inotify_init', { maxevents: 0 });
    await callWith(session, actionNamed('yara_load'), {});
    let changed = true;
    /** The outcome; first with a name in an existing directory. */
    const absent = async (action: ActionDef, name: string): Promise<AbsentPath> => {
      const given = String(decodedExample(action)[name]);
      const beside = posix.join(dirname(given), given.endsWith('XXXXXX') ? 'missingXXXXXX' : 'missing');
      for (const [path, where] of [
        [beside, ''],
        [`${dirname(beside)}/missing/${posix.basename(beside)}`, ' for its directory'],
      ] as const) {
        if (changed) await fresh();
        const found = await fails(action, { ...BTRFS_SOURCE[action.name], [name]: path });
        changed = action.mutating && found?.reason !== 'ENOENT';
        if (found?.reason === 'ENOENT' || found?.reason === 'DAEMON_ERROR') return `${found.reason}${where}`;
      }
      return 'nothing';
    };
    const wrong: Record<string, Record<string, AbsentPath>> = {};
    for (const action of actions) {
      // There is no server to talk to.
      for (const name of /^rsync_/.test(action.name) ? [] : pathArguments(action)) {
        const found = await absent(action, name);
        if (found !== absentPath(action, name)) wrong[action.name] = { ...wrong[action.name], [name]: found };
      }
    }
    await session.call('inotify_close');
    expect(wrong).toEqual({});
  });

  it.each(['blocks', 'files'] as const)('of a file system that has no more %s', async (resource) => {
    await session.call('umount_all');
    await session.call('mke2fs', {
      device: '/dev/sdc',
      fstype: 'ext2',
      numberofinodes: resource === 'files' ? 64n : 512n,
      blockscount: 8192n,
      blocksize: 1024n,
      reservedblockspercentage: 0,
    });
    await mountRoot('/dev/sdc');
    for (const path of ['/tmp', '/srv', '/data', '/boot', '/rest']) await session.call('mkdir', { path });
    await writeTree(session, {
      '/etc/hostname': 'guest\n',
      '/etc/hosts': '127.0.0.1 localhost\n',
      '/etc/passwd': 'root:x:0:0:root:/root:/bin/sh\n',
    });
    let round = 0;
    const fill = async (): Promise<void> => {
      round += 1;
      await inGuest(
        session,
        `cd /sysroot; rm -rf tmp/new tmp/link; [ -e tmp/file ] || { rm -f filler; echo something > tmp/file; }
        # The last blocks are of no use to a file, which would need others to find them by.
        cat /dev/zero >> filler; sync; i=0; while mkdir rest/${round}-$i; do i=$((i + 1)); done
        ${resource === 'files' ? `while touch rest/${round}-$i; do i=$((i + 1)); done` : ''}
        :`,
      );
    };
    await fill();
    const wrong: Record<string, string | undefined> = {};
    for (const action of actions.filter(needsSpace)) {
      const elsewhere = Object.fromEntries(
        Object.entries(decodedExample(action))
          .filter(([, value]) => value === FILE)
          .map(([name]) => [name, NEW]),
      );
      let reason: string | undefined;
      for (const given of [elsewhere, LARGER[action.name] ?? {}]) {
        const found = await fails(action, given);
        await fill();
        if (found?.reason === 'ENOSPC' || (found?.reason === 'DAEMON_ERROR' && NO_SPACE.test(found.text)))
          reason ??= found.reason;
      }
      if (reason !== action.fullFileSystem?.[resource]) wrong[action.name] = reason;
    }
    expect(wrong).toEqual({});
  });

  describe('of one action', () => {
    let holder: LockHolder;

    beforeAll(async () => {
      await mountRoot('/dev/sda1');
      await fresh();
      holder = await holdImage(emptyImage(join(scene.server.images, 'used.img'), 1));
    });
    afterAll(() => holder.release());

    const inGuestFiles: readonly (readonly [name: string, reason: string, given: object])[] = [
      ...['mkdir', 'mkdir_mode', 'mkfifo', 'mknod', 'mknod_b', 'mknod_c'].map(
        (name) => [name, 'EEXIST', { path: FILE }] as const,
      ),
      ['ln', 'EEXIST', { linkname: FILE }],
      ['rmdir', 'ENOTEMPTY', { path: '/etc' }],
      ['readlink', 'EINVAL', { path: FILE }],
      ...['getxattr', 'lgetxattr', 'removexattr', 'lremovexattr'].map(
        (name) => [name, 'ENODATA', { path: FILE }] as const,
      ),
      ...['cat', 'read_file', 'read_lines'].map((name) => [name, 'DAEMON_ERROR', { path: '/etc' }] as const),
      ['download', 'DAEMON_ERROR', { remotefilename: '/etc' }],
      ['upload', 'EISDIR', { remotefilename: '/etc' }],
      ['rsync_in', 'DAEMON_ERROR', {}],
      ['rsync_out', 'DAEMON_ERROR', {}],
      ['copy_in', 'ENOTDIR', { remotedir: FILE }],
      ['copy_in', 'OUTSIDE_IMAGE_ROOTS', { localpath: '/etc/passwd' }],
      ['copy_in', 'IMAGE_MISSING', { localpath: 'missing' }],
      ['copy_out', 'ENOTDIR', { localdir: 'disk.img' }],
      ['copy_out', 'OUTSIDE_IMAGE_ROOTS', { localdir: '/etc' }],
      ['copy_out', 'IMAGE_MISSING', { localdir: 'missing' }],
      ['copy_out', 'EINVAL', { remotepath: '/missing' }],
      ['mountable_subvolume', 'EINVAL', { mountable: '/dev/sda1' }],
      ['available', 'BAD_ARGUMENT', { groups: ['nonsense'] }],
      ['feature_available', 'BAD_ARGUMENT', { groups: ['nonsense'] }],
    ];
    it('of a group that is not there', async () => {
      await inGuest(session, 'rm "$(command -v zerofree)"');
      expect(await fails(actionNamed('available'), { groups: ['zerofree'] })).toMatchObject({
        reason: 'GROUP_NOT_AVAILABLE',
      });
    });

    it.each(inGuestFiles)('in a guest: %s %s %j', async (name, reason, given) => {
      expect(await fails(actionNamed(name), given)).toMatchObject({ reason });
    });

    const ofSettings: readonly (readonly [name: string, reason: string, given: object])[] = [
      ['get_backend_setting', 'ESRCH', { name: 'nonsense' }],
      ['set_backend', 'BAD_ARGUMENT', { backend: 'libvirt' }],
      ['set_attach_method', 'BAD_ARGUMENT', { backend: 'libvirt' }],
      ['set_memsize', 'BAD_ARGUMENT', { memsize: 1 }],
      ['set_memsize', 'LIMIT_EXCEEDED', { memsize: 2 ** 31 - 1 }],
      ['set_smp', 'BAD_ARGUMENT', { smp: 0 }],
      ['set_smp', 'LIMIT_EXCEEDED', { smp: 255 }],
      ['set_identifier', 'BAD_ARGUMENT', { identifier: 'a b' }],
      ['set_tmpdir', 'ENOENT', { tmpdir: '/no/such' }],
      ['set_tmpdir', 'BAD_ARGUMENT', { tmpdir: '/etc/passwd' }],
      ['set_cachedir', 'ENOENT', { cachedir: '/no/such' }],
      ['set_cachedir', 'BAD_ARGUMENT', { cachedir: '/etc/passwd' }],
      ['config', 'BAD_ARGUMENT', { hvparam: '-kernel' }],
      ['parse_environment', 'BAD_ARGUMENT', {}],
      ['parse_environment_list', 'BAD_ARGUMENT', { environment: ['LIBGUESTFS_MEMSIZE=much'] }],
      ['device_index', 'ENODEV', { device: '/dev/nonsense' }],
      ['device_name', 'EINVAL', { index: 7 }],
      ['launch', 'NO_DRIVES', {}],
      ['wait_ready', 'WRONG_STATE', {}],
      ['get_pid', 'WRONG_STATE', {}],
    ];
    it.each(ofSettings)('in a session: %s %s %j', async (name, reason, given) => {
      expect(await fails(actionNamed(name), given, config)).toMatchObject({ reason });
    });

    const ofDisks: readonly (readonly [name: string, reason: string, given: object])[] = [
      ...served
        .filter(({ args }) => args.some(({ name, onServer }) => onServer && name === 'filename'))
        .flatMap(
          ({ name }) =>
            [
              [name, 'OUTSIDE_IMAGE_ROOTS', { filename: '/etc/passwd' }],
              [name, 'IMAGE_MISSING', { filename: 'no/such.img' }],
              [name, 'IMAGE_UNUSABLE', { filename: 'directory' }],
            ] as const,
        ),
      ['disk_create', 'IMAGE_LOCKED', { filename: 'used.img', overwrite: true }],
      ['disk_create', 'EEXIST', { filename: 'used.img' }],
      ['disk_create', 'BAD_ARGUMENT', { format: 'vmdk' }],
      ['add_drive_scratch', 'BAD_ARGUMENT', { size: 0n }],
      ['add_drive', 'BAD_ARGUMENT', { label: 'no letters: 1' }],
      ['remove_drive', 'ENOENT', {}],
      ['add_domain', 'DAEMON_ERROR', { dom: 'nonsense' }],
      ['add_domain', 'EBUSY', { dom: 'running', readonly: false }],
      ['add_domain', 'OUTSIDE_IMAGE_ROOTS', { dom: 'outside' }],
      ['add_domain', 'IMAGE_MISSING', { dom: 'missing' }],
      ['add_domain', 'IMAGE_UNUSABLE', { dom: 'unusable' }],
    ];
    it.each(ofDisks)('of a disk: %s %s %j', async (name, reason, given) => {
      expect(await fails(actionNamed(name), given, config)).toMatchObject({ reason });
    });

    it('of drives that there are already', async () => {
      await config.call('add_drive_scratch', { size: 4096n, label: 'data' });
      for (const name of ['add_drive', 'add_drive_scratch'])
        expect(await fails(actionNamed(name), { label: 'data' }, config)).toMatchObject({ reason: 'EEXIST' });
      for (let count = 1; count < 255; count += 1) await config.call('add_drive_scratch', { size: 4096n });
      const more = [
        'add_cdrom',
        'add_drive',
        'add_drive_ro',
        'add_drive_ro_with_if',
        'add_drive_scratch',
        'add_drive_with_if',
      ];
      for (const name of more)
        expect(await fails(actionNamed(name), name === 'add_drive' ? { label: undefined } : {}, config)).toMatchObject({
          reason: 'ENOSPC',
        });
    });

    it('of a drive in use', async () => {
      await session.call('add_drive_scratch', { size: BigInt(16 * MEBIBYTE), label: 'data' });
      await session.call('mkfs', { fstype: 'ext2', device: '/dev/disk/guestfs/data' });
      await session.call('mount', { mountable: '/dev/disk/guestfs/data', mountpoint: '/data' });
      expect(await fails(actionNamed('remove_drive'))).toMatchObject({ reason: 'EBUSY' });
      expect(
        await fails(actionNamed('add_drive'), { filename: 'used.img', readonly: false, label: undefined }),
      ).toMatchObject({ reason: 'IMAGE_LOCKED' });
    });

    it.each<[string, Parameters<typeof scene.client.createSession>[0]]>([
      ['IMAGE_LOCKED', { drives: [imageDrive('used.img')] }],
      ['IMAGE_UNUSABLE', { drives: [imageDrive('disk.img', { format: 'qcow2' })] }],
      [
        'LAUNCH_TIMEOUT',
        { drives: [scratchDrive(4096)], settings: settings({ launch_timeout: { seconds: 0n, nanos: 1_000_000 } }) },
      ],
      ['OUT_OF_MEMORY', { drives: [scratchDrive(4096)], settings: settings({ memsize: 1 << 30 }) }],
    ])('of a launch: %s', async (reason, given) => {
      const { id } = await scene.client.createSession(given);
      expect(await fails(actionNamed('launch'), {}, new SessionClient(scene.client, id))).toMatchObject({ reason });
      await scene.client.deleteSession(id);
    });

    it('in the wrong state', async () => {
      const wrong: unknown[] = [];
      for (const action of served.filter(({ configOnly }) => configOnly)) {
        const found = await fails(action);
        if (found?.reason !== 'WRONG_STATE') wrong.push([action.name, found]);
      }
      expect(wrong).toEqual([]);
    });
  });

  it('except those that apply to all actions have all happened', () => {
    const told = served
      .filter((action) => !inAppliance.includes(action) || actions.includes(action))
      .flatMap((action) =>
        knownErrors(action)
          .filter(({ reason }) => !GENERAL.has(reason))
          // See durability.test.ts and changedImages.test.ts.
          .filter(({ reason }) => !action.promisesDurability || !OF_THE_HOST.has(reason))
          .map(({ reason }) => `${action.name} ${reason}`),
      );
    expect([...new Set(told)].filter((one) => !happened.has(one) && !(one in ELSEWHERE))).toEqual([]);
  });
});
