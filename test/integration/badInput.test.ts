/** Any mistake by a client: a precise status, an understandable message, and a session that still works. */
import { randomUUID } from 'node:crypto';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Metadata, status } from '@grpc/grpc-js';
import { afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { EventType } from '../../gen/proto/guestfs/v1/event.js';
import {
  SessionServiceService,
  SessionState,
  type CreateSessionRequest,
  type DriveSpec,
} from '../../gen/proto/guestfs/v1/session.js';
import { areas } from '../../src/actions/areas.js';
import { hasRpc, isFileIn, isFileOut, needsDaemon } from '../../src/actions/shape.js';
import type { ActionDef } from '../../src/actions/types.js';
import type { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { describeWithAppliance } from '../support/appliance.js';
import { emptyImage } from '../support/diskImages.js';
import { holdImage } from '../support/lockHolder.js';
import { rawUnary, rawUpload } from '../support/rawCalls.js';
import { serverForTests, settings } from '../support/scene.js';
import {
  failureOf,
  imageDrive,
  scratchDrive,
  SessionClient,
  sessionMetadata,
  type TestClient,
} from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const UPLOAD = '/guestfs.v1.TransferService/Upload';

/** Refused for lack of a permission before its state is checked: see admission.test.ts. */
function alwaysNeedsPermission({ permissions = [] }: ActionDef): boolean {
  return permissions.some(({ when }) => when === undefined);
}

const actions = areas
  .filter((area) => area.name !== 'debug')
  .flatMap((area) => area.actions)
  .filter(hasRpc);

/** Calls an action in whatever way it is called, with empty arguments, but for those that are refused in any state. */
async function failureOfAction(session: SessionClient, action: ActionDef): Promise<GuestfsRpcError> {
  const guids = action.args
    .filter((argument) => 'kind' in argument && argument.kind === 'guid')
    .map(({ name }) => [name, randomUUID()]);
  const given = Object.fromEntries(guids) as Record<string, string>;
  if (isFileIn(action)) return failureOf(session.upload(action.name, given, []), action.name);
  if (isFileOut(action)) return failureOf(session.download(action.name, given), action.name);
  return session.failure(action.name, given);
}

function metadataWith(...ids: string[]): Metadata {
  const metadata = new Metadata();
  for (const id of ids) metadata.add('guestfs-session', id);
  return metadata;
}

const ping = (client: TestClient, metadata: Metadata): Promise<Buffer> =>
  rawUnary(client, '/guestfs.v1.ApplianceService/PingDaemon', Buffer.alloc(0), metadata);

describeWithAppliance('bad input', () => {
  const scene = serverForTests();
  let session: SessionClient;

  describe('to a session without an appliance', () => {
    let config: SessionClient;

    beforeAll(async () => {
      config = new SessionClient(scene.client, (await scene.client.createSession()).id);
    });
    afterEach(async () => {
      expect((await scene.client.getSession(config.id)).state).toBe(SessionState.CONFIG);
    });

    const forDaemon = actions.filter((action) => needsDaemon(action) && !alwaysNeedsPermission(action));

    it(`is each of the ${forDaemon.length} actions that need one: FAILED_PRECONDITION naming the state and the cure`, async () => {
      expect(forDaemon.length).toBeGreaterThan(450);
      const wrong: unknown[] = [];
      for (const action of forDaemon) {
        const { code, details, info } = await failureOfAction(config, action);
        const good =
          code === status.FAILED_PRECONDITION &&
          info?.reason === 'WRONG_STATE' &&
          info.metadata['action'] === action.name &&
          info.metadata['state'] === 'CONFIG' &&
          details === `${action.name} needs a session in state READY; this one is in state CONFIG: call launch first`;
        if (!good) wrong.push({ action: action.name, code, details, info });
      }
      expect(wrong).toEqual([]);
    });

    it('is a launch without drives', async () => {
      expect(await config.failure('launch')).toMatchObject({
        code: status.FAILED_PRECONDITION,
        details: expect.stringContaining('add_drive'),
        info: { reason: 'NO_DRIVES' },
      });
    });

    it.each<[string, object, string]>([
      ['set_memsize', { memsize: 255 }, 'memsize'],
      ['set_memsize', { memsize: -1 }, 'memsize'],
      ['set_smp', { smp: 0 }, 'smp'],
      ['set_smp', { smp: 256 }, 'smp'],
      ['add_drive_scratch', { size: 0n }, 'size'],
      ['add_drive_scratch', { size: -1n }, 'size'],
      ['add_drive_scratch', { size: 4096n, blocksize: 513 }, 'blocksize'],
      ['add_drive_scratch', { size: 4096n, label: 'no spaces' }, 'label'],
      ['add_drive_scratch', { size: 4096n, label: 'abcdefghijklmnopqrstu' }, 'label'],
      ['add_drive', { filename: 'there.img', cachemode: 'none' }, 'cachemode'],
      ['add_drive', { filename: 'there.img', discard: 'maybe' }, 'discard'],
      ['add_drive', { filename: 'there.img', format: 'r/a/w' }, 'format'],
      ['add_drive', { filename: 'there.img', protocol: 'gopher' }, 'protocol'],
    ])('is %s with %p: INVALID_ARGUMENT naming the field', async (name, given, field) => {
      emptyImage(join(scene.server.images, 'there.img'), 1);
      const failure = await config.failure(name, given);
      expect(failure).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining(field),
        info: { reason: 'BAD_ARGUMENT', metadata: { action: name, state: 'CONFIG' }, fields: [field] },
      });
    });
  });

  describe('in the way that a drive is named', () => {
    const images = (): string => scene.server.images;

    beforeAll(() => {
      writeFileSync(join(images(), '..', 'outside.img'), Buffer.alloc(4096));
      symlinkSync('../outside.img', join(images(), 'link-out.img'));
      symlinkSync('nowhere.img', join(images(), 'link-nowhere.img'));
      mkdirSync(join(images(), 'directory'));
    });

    const OUTSIDE = [status.PERMISSION_DENIED, 'OUTSIDE_IMAGE_ROOTS'] as const;
    it.each<[string, string, readonly [status, string]]>([
      ['an absolute path outside the image roots', '/etc/passwd', OUTSIDE],
      ['one that does not exist outside the image roots', '/etc/no-such-file', OUTSIDE],
      ['a path that climbs out', '../outside.img', OUTSIDE],
      ['a link that leads out', 'link-out.img', OUTSIDE],
      ['a file that is missing', 'missing.img', [status.NOT_FOUND, 'IMAGE_MISSING']],
      ['a link to a file that is missing', 'link-nowhere.img', [status.NOT_FOUND, 'IMAGE_MISSING']],
      ['a directory', 'directory', [status.FAILED_PRECONDITION, 'IMAGE_UNUSABLE']],
    ])('is refused: %s', async (_what, path, [code, reason]) => {
      const failure = await failureOf(scene.client.createSession({ drives: [imageDrive(path)] }));
      expect(failure).toMatchObject({
        code,
        info: { domain: 'guestfs', reason, metadata: { action: 'CreateSession' } },
      });
      expect(failure.details.length).toBeGreaterThan(20);
      expect(
        (
          await failureOf(
            scene.client.createSession({ drives: [imageDrive(path, { writable: false, format: undefined })] }),
          )
        ).code,
      ).toBe(code);
    });

    it.each<[string, DriveSpec, string]>([
      ['no source', { ...imageDrive('x'), source: undefined }, 'drives[0].source'],
      ['a NUL in the path', imageDrive('a\0b'), 'drives[0].path'],
      ['an empty path', imageDrive(''), 'drives[0].path'],
      ['a scratch drive of no size', scratchDrive(0), 'drives[0].scratch_size'],
      ['a scratch drive of a negative size', scratchDrive(-4096), 'drives[0].scratch_size'],
      ['a sector size that no disk has', scratchDrive(4096, { blocksize: 1000 }), 'drives[0].blocksize'],
      ['a label with digits', scratchDrive(4096, { label: 'disk1' }), 'drives[0].label'],
    ])('is refused: %s', async (_what, drive, field) => {
      expect(await failureOf(scene.client.createSession({ drives: [drive] }))).toMatchObject({
        code: status.INVALID_ARGUMENT,
        info: { reason: 'BAD_ARGUMENT', fields: [field] },
      });
    });

    it('leaves no session behind', async () => {
      const { sessions } = await scene.client.call(SessionServiceService.listSessions, {
        page_size: 0,
        page_token: '',
        all_replicas: false,
      });
      expect(sessions).toHaveLength(1); // the one of the tests above
    });
  });

  describe('to SessionService', () => {
    it.each<[string, Partial<CreateSessionRequest>, string]>([
      ['an ID with a slash', { session_id: 'a/b' }, 'session_id'],
      ['an ID that is empty', { session_id: '' }, 'session_id'],
      ['an ID of 65 characters', { session_id: 'x'.repeat(65) }, 'session_id'],
      ['too little memory', { settings: settings({ memsize: 100 }) }, 'settings.memsize'],
      ['no CPU', { settings: settings({ smp: 0 }) }, 'settings.smp'],
      ['too many CPUs', { settings: settings({ smp: 256 }) }, 'settings.smp'],
      [
        'no time to launch',
        { settings: settings({ launch_timeout: { seconds: 0n, nanos: 0 } }) },
        'settings.launch_timeout',
      ],
      ['a negative idle timeout', { idle_timeout: { seconds: -1n, nanos: 0 } }, 'idle_timeout'],
      ['an idle timeout of 68 years', { idle_timeout: { seconds: 2n ** 31n, nanos: 0 } }, 'idle_timeout'],
      [
        '33 labels',
        { labels: new Map(Array.from({ length: 33 }, (_label, index) => [`label${index}`, ''])) },
        'labels',
      ],
      ['a label of 257 characters', { labels: new Map([['label', 'x'.repeat(257)]]) }, 'labels'],
      ['a label without a name', { labels: new Map([['', 'x']]) }, 'labels'],
    ])('is refused: %s', async (_what, request, field) => {
      const failure = await failureOf(scene.client.createSession(request));
      expect(failure).toMatchObject({
        code: status.INVALID_ARGUMENT,
        info: { fields: [field], metadata: { action: 'CreateSession' } },
      });
    });

    it('is refused: a network where the server allows none, with the setting that would', async () => {
      const failure = await failureOf(scene.client.createSession({ settings: settings({ network: true }) }));
      expect(failure).toMatchObject({
        code: status.PERMISSION_DENIED,
        details: expect.stringContaining('--allow network'),
        info: { reason: 'NOT_ALLOWED', metadata: { setting: '--allow network' } },
      });
    });

    it.each<[string, (id: string) => Promise<unknown>]>([
      ['GetSession', (id) => scene.client.getSession(id)],
      ['DeleteSession', (id) => scene.client.deleteSession(id)],
      ['GetLog', (id) => scene.client.getLog(id)],
      ['Subscribe', (id) => scene.client.subscribe(id)],
      ['an action', (id) => new SessionClient(scene.client, id).call('ping_daemon')],
      ['an upload', (id) => new SessionClient(scene.client, id).upload('upload', {}, [])],
      ['a download', (id) => new SessionClient(scene.client, id).download('download', {})],
      ['a list', (id) => new SessionClient(scene.client, id).call('ls')],
    ])('or an action names a session that does not exist, or no session at all: %s', async (_what, call) => {
      expect(await failureOf(call('no-such-session'))).toMatchObject({
        code: status.NOT_FOUND,
        details: expect.stringContaining('no-such-session'),
        info: { reason: 'SESSION_UNKNOWN' },
      });
      for (const id of ['a b', 'x'.repeat(65), 'a/b', '']) {
        expect(await failureOf(call(id))).toMatchObject({
          code: status.INVALID_ARGUMENT,
          info: { reason: 'MALFORMED_SESSION_ID' },
        });
      }
    });

    it.each([
      [{ page_size: -1, page_token: '', all_replicas: false }, 'page_size'],
      [{ page_size: 1, page_token: 'x', all_replicas: false }, 'page_token'],
      [{ page_size: 1, page_token: '1e3', all_replicas: false }, 'page_token'],
      [{ page_size: 1, page_token: ' ', all_replicas: false }, 'page_token'],
      [{ page_size: 1, page_token: '-1', all_replicas: false }, 'page_token'],
    ])('is refused: %p', async (request, field) => {
      expect(await failureOf(scene.client.call(SessionServiceService.listSessions, request))).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining(field),
      });
    });
  });

  describe('to a launch', () => {
    it('is an image in use by another virtual machine; it can be launched when that has ended', async () => {
      const image = emptyImage(join(scene.server.images, 'used.img'), 64);
      const holder = await holdImage(image);
      const { id } = await scene.client.createSession({ drives: [imageDrive('used.img')] });
      session = new SessionClient(scene.client, id);
      const failure = await session.failure('launch').finally(() => holder.release());
      expect(failure).toMatchObject({
        code: status.FAILED_PRECONDITION,
        details: expect.stringMatching(/^image '[^']*used\.img' is in use/),
        info: { reason: 'IMAGE_LOCKED', metadata: { action: 'launch', state: 'CONFIG' } },
      });

      const { event, cancel } = await scene.client.subscribe(id, [EventType.PROGRESS, EventType.LAUNCH_DONE]);
      const launched = session.call('launch');
      await event((one) => one.type === EventType.PROGRESS);
      // Meanwhile the session accepts nothing else.
      for (const name of ['ping_daemon', 'launch', 'set_memsize', 'add_drive_scratch']) {
        const refused = await session.failure(
          name,
          name === 'set_memsize' ? { memsize: 512 } : name === 'add_drive_scratch' ? { size: 4096n } : {},
        );
        expect(refused).toMatchObject({
          code: status.FAILED_PRECONDITION,
          details: expect.stringMatching(/LAUNCHING: wait until launch has returned/),
          info: { reason: 'WRONG_STATE', metadata: { action: name, state: 'LAUNCHING' } },
        });
      }
      expect(await failureOf(session.upload('upload', {}, []))).toMatchObject({
        info: { reason: 'WRONG_STATE', metadata: { state: 'LAUNCHING' } },
      });
      await launched;
      await event((one) => one.type === EventType.LAUNCH_DONE);
      cancel();
      expect((await scene.client.getSession(id)).state).toBe(SessionState.READY);
    });

    it.each([
      ['a format that there is not', { format: 'no-such-format' }, 'IMAGE_UNUSABLE'],
      ['a format that the image does not have', { format: 'qcow2' }, 'IMAGE_UNUSABLE'],
    ])('is %s', async (_what, given, reason) => {
      emptyImage(join(scene.server.images, 'plain.img'), 1);
      const failure = await failureOf(
        scene.client.createSession({ drives: [imageDrive('plain.img', given)], launch: true }),
      );
      expect(failure).toMatchObject({
        code: status.FAILED_PRECONDITION,
        details: expect.stringContaining("plain.img'"),
        info: { reason },
      });
    });
  });

  describe('to a session that is ready', () => {
    beforeAll(async () => {
      expect((await scene.client.getSession(session.id)).state).toBe(SessionState.READY);
    });
    afterEach(async () => {
      await session.call('ping_daemon');
    });

    const configOnly = actions.filter((action) => action.configOnly && !alwaysNeedsPermission(action));

    it.each(configOnly.map((action) => [action.name, action] as const))(
      'is %s, which is for a session that is not',
      async (name, action) => {
        expect(await failureOfAction(session, action)).toMatchObject({
          code: status.FAILED_PRECONDITION,
          details: `${name} needs a session in state CONFIG; this one is in state READY`,
          info: {
            domain: 'guestfs',
            reason: 'WRONG_STATE',
            metadata: { action: name, state: 'READY', required_state: 'CONFIG' },
          },
        });
      },
    );

    it('is a call that names no session, or two', async () => {
      expect(await failureOf(ping(scene.client, metadataWith()))).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('"guestfs-session"'),
        info: { reason: 'SESSION_MISSING' },
      });
      expect(await failureOf(ping(scene.client, metadataWith(session.id, session.id)))).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('more than once'),
      });
      await ping(scene.client, metadataWith(session.id));
    });

    it.each<[string, object, string]>([
      ['mkdir', { path: '/a\0b' }, 'path'],
      ['mount', { mountable: '/dev/sda\0', mountpoint: '/' }, 'mountable'],
      ['vgcreate', { volgroup: 'vg', physvols: ['/dev/sda', '/dev/sdb\0'] }, 'physvols[1]'],
      ['mkfs', { fstype: 'ext4', device: '/dev/sda', label: 'a\0' }, 'label'],
      ['set_e2uuid', { device: '/dev/sda', uuid: '\0' }, 'uuid'],
    ])('is a NUL in a string of %s', async (name, given, field) => {
      expect(await session.failure(name, given)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('NUL'),
        info: { reason: 'BAD_ARGUMENT', fields: [field] },
      });
    });

    it('is a NUL in the arguments of an upload and a download', async () => {
      const failures = [
        session.upload('upload', { remotefilename: '/a\0' }, []),
        session.download('download', { remotefilename: '/a\0' }),
      ];
      for (const failure of failures)
        expect(await failureOf(failure)).toMatchObject({
          code: status.INVALID_ARGUMENT,
          info: { fields: ['remotefilename'] },
        });
    });

    it.each<[string, Buffer]>([
      ['a string that is not UTF-8', Buffer.from([0x0a, 2, 0xff, 0xfe])],
      ['a string that ends before its length', Buffer.from([0x0a, 200, 1, 0x61])],
      ['a field of another type', Buffer.from([0x08, 0x80])],
      ['no protobuf at all', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ])('is a request with %s', async (_what, request) => {
      const failure = await failureOf(
        rawUnary(scene.client, '/guestfs.v1.FileService/Mkdir', request, sessionMetadata(session.id)),
      );
      expect(failure).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('cannot be decoded'),
        info: { reason: 'BAD_ARGUMENT', metadata: { action: 'mkdir' } },
      });
    });

    it('is a request to SessionService that is not UTF-8', async () => {
      const failure = await failureOf(
        rawUnary(scene.client, '/guestfs.v1.SessionService/GetSession', Buffer.from([0x0a, 1, 0xff])),
      );
      expect(failure).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringContaining('UTF-8') });
    });

    it('is an upload whose message cannot be decoded', async () => {
      const message = Buffer.from([0x0a, 3, 0x0a, 1, 0xff]);
      const failure = await failureOf(rawUpload(scene.client, UPLOAD, message, sessionMetadata(session.id)));
      expect(failure).toMatchObject({ code: status.INVALID_ARGUMENT, details: expect.stringContaining('UTF-8') });
    });

    it.each<[string, object, status]>([
      ['mkfs', { fstype: 'ext4', device: '/dev/sdz' }, status.NOT_FOUND],
      ['mount', { mountable: '/dev/sdb1', mountpoint: '/' }, status.NOT_FOUND],
      ['part_list', { device: '/dev/nothing' }, status.NOT_FOUND],
      ['blockdev_getsize64', { device: '/dev/sda9' }, status.NOT_FOUND],
    ])('is a device that does not exist: %s %p', async (name, given, code) => {
      const failure = await session.failure(name, given);
      expect(failure).toMatchObject({ code, info: { reason: 'ENOENT', metadata: { action: name } } });
      expect(failure.details).toContain(Object.values(given).find((value: string) => value.startsWith('/dev/')));
    });

    it.each<[string, object, status, RegExp]>([
      ['mkfs', { fstype: 'ext4', device: 'sda' }, status.NOT_FOUND, /sda: No such file/],
      ['mkfs', { fstype: 'ext4', device: '' }, status.NOT_FOUND, /No such file/],
      ['mkdir', { path: 'relative' }, status.UNKNOWN, /must start with a \/ character/],
      ['mkdir', { path: '' }, status.UNKNOWN, /must start with a \/ character/],
    ])('is a name that is none: %s %p', async (name, given, code, message) => {
      expect(await session.failure(name, given)).toMatchObject({
        code,
        details: expect.stringMatching(message),
        info: { metadata: { action: name, state: 'READY' } },
      });
    });

    const GUID = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';
    it.each([
      ['nothing', ''],
      ['a word', 'linux'],
      ['too short', GUID.slice(1)],
      ['too long', `${GUID}0`],
      ['without dashes', GUID.replaceAll('-', '')],
      ['with one brace', `{${GUID}`],
      ['with a space', ` ${GUID}`],
    ])('is a GUID that is none: %s', async (_what, guid) => {
      for (const [name, more] of [
        ['part_set_gpt_type', { partnum: 1 }],
        ['part_set_gpt_guid', { partnum: 1 }],
        ['part_set_disk_guid', {}],
      ] as const) {
        expect(await session.failure(name, { device: '/dev/sda', guid, ...more })).toMatchObject({
          code: status.INVALID_ARGUMENT,
          details: 'guid: parameter is not a valid GUID',
          info: { reason: 'BAD_ARGUMENT', metadata: { action: name, state: 'READY' }, fields: ['guid'] },
        });
      }
    });

    it.each(['a/b', '/a', 'a/', '/', '../a'])('is a file name with a slash: %s', async (wrong) => {
      for (const name of ['lstatlist', 'lstatnslist', 'lxattrlist', 'readlinklist']) {
        expect(await session.failure(name, { path: '/', names: ['right', wrong] })).toMatchObject({
          code: status.INVALID_ARGUMENT,
          details: `names: '${wrong}' is not a file name`,
          info: { reason: 'BAD_ARGUMENT', metadata: { action: name, state: 'READY' }, fields: ['names'] },
        });
      }
    });

    const takesMountables: readonly (readonly [string, object])[] = [
      ['mount', { mountpoint: '/' }],
      ['mountable_device', {}],
      ['vfs_type', {}],
    ];

    it.each([
      'btrfsvol:',
      'btrfsvol:/dev/sda',
      'btrfsvol:/dev/sdz/volume',
      'btrfsvol:sda/volume',
      'btrfsvol:/dev//volume',
      'btrfsvol:/etc/passwd/volume',
    ])('is a Btrfs subvolume that is none: %s', async (mountable) => {
      for (const [name, more] of takesMountables) {
        expect(await session.failure(name, { mountable, ...more })).toMatchObject({
          code: status.UNKNOWN,
          details: expect.stringContaining(`${mountable}: expecting a btrfs volume`),
          info: { reason: 'DAEMON_ERROR', metadata: { action: name, state: 'READY' } },
        });
      }
      expect(await session.failure('mountable_subvolume', { mountable })).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: 'not a btrfs subvolume identifier',
        info: { reason: 'EINVAL' },
      });
    });

    it.each<[string, status, string, RegExp]>([
      ['', status.NOT_FOUND, 'ENOENT', /No such file or directory/],
      ['sda', status.NOT_FOUND, 'ENOENT', /sda: No such file or directory/],
      ['/dev/sda\n', status.NOT_FOUND, 'ENOENT', /No such file or directory/],
      ['/dev/sda/volume', status.FAILED_PRECONDITION, 'ENOTDIR', /\/dev\/sda\/volume: Not a directory/],
      ['/etc/passwd', status.UNKNOWN, 'DAEMON_ERROR', /\/etc\/passwd: expecting a device name/],
      ['/dev/../etc/passwd', status.UNKNOWN, 'DAEMON_ERROR', /expecting a device name/],
      ['/dev', status.UNKNOWN, 'DAEMON_ERROR', /expecting a device name/],
      ['/dev/null', status.UNKNOWN, 'DAEMON_ERROR', /expecting a device name/],
      [`/dev/${'x'.repeat(300)}`, status.INVALID_ARGUMENT, 'ENAMETOOLONG', /File name too long/],
    ])('is a device that is none: %j', async (device, code, reason, text) => {
      for (const [name, more] of takesMountables) {
        expect(await session.failure(name, { mountable: device, ...more })).toMatchObject({
          code,
          details: expect.stringMatching(text),
          info: { reason, metadata: { action: name } },
        });
      }
      for (const name of ['blockdev_getsize64', 'part_list', 'pvcreate', 'luks_uuid', 'zero']) {
        expect(await session.failure(name, { device })).toMatchObject({
          code,
          details: expect.stringMatching(text),
          info: { reason, metadata: { action: name } },
        });
      }
    });

    it.each(['', 'sda', '/dev/sda1', '/dev/', '/etc/passwd', '/dev/mapper/volume', `/dev/sd${'z'.repeat(300)}`])(
      'is a disk that has no number: %j',
      async (device) => {
        expect(await session.failure('device_index', { device })).toMatchObject({
          code: status.NOT_FOUND,
          details: `${device}: device not found`,
          info: { reason: 'ENODEV' },
        });
      },
    );

    it.each<[string, string]>([
      ['ls', 'directory'],
      ['stat', 'path'],
      ['touch', 'path'],
      ['write', 'path'],
      ['rm_rf', 'path'],
      ['is_dir', 'path'],
      ['find', 'directory'],
      ['readdir', 'dir'],
      ['realpath', 'path'],
      ['filesize', 'file'],
      ['checksum', 'path'],
      ['aug_init', 'root'],
      ['hivex_open', 'filename'],
      ['journal_open', 'directory'],
      ['yara_scan', 'path'],
      ['ln', 'target'],
      ['ln_s', 'linkname'],
    ])('is a path that is not absolute: %s', async (name, field) => {
      for (const path of ['', 'relative', './relative', '../relative', '~/relative']) {
        expect(await session.failure(name, { [field]: path })).toMatchObject({
          code: status.UNKNOWN,
          details: expect.stringMatching(/path must start with a \/ character$/),
          info: { reason: 'DAEMON_ERROR', metadata: { action: name, state: 'READY' } },
        });
      }
    });

    // For these, the daemon first checks whether a file system is mounted.
    it('is a path that is not absolute, of contents', async () => {
      await session.call('mkfs', { fstype: 'ext2', device: '/dev/sda' });
      await session.call('mount', { mountable: '/dev/sda', mountpoint: '/' });
      for (const path of ['', 'relative', '../relative']) {
        const calls: readonly (() => Promise<unknown>)[] = [
          () => session.call('cat', { path }),
          () => session.call('read_lines', { path }),
          () => session.download('download', { remotefilename: path }),
          () => session.upload('upload', { remotefilename: path }, [Buffer.alloc(10)]),
          () => session.upload('tar_in', { directory: path }, []),
        ];
        for (const call of calls)
          expect(await failureOf(call())).toMatchObject({
            code: status.UNKNOWN,
            details: expect.stringMatching(/path must start with a \/ character$/),
            info: { reason: 'DAEMON_ERROR' },
          });
      }
      await session.call('umount_all');
    });

    it('is a file operation before anything is mounted, with the remedy', async () => {
      expect(await session.failure('touch', { path: '/x' })).toMatchObject({
        details: expect.stringContaining("you must call 'mount' first"),
      });
    });

    it.each<[string, object]>([
      ['part_del', { device: '/dev/sda', partnum: 0 }],
      ['part_del', { device: '/dev/sda', partnum: -1 }],
      ['part_del', { device: '/dev/sda', partnum: 2147483647 }],
      ['mkfs', { fstype: 'ext4', device: '/dev/sda', blocksize: -1 }],
      ['mkfs', { fstype: 'ext4', device: '/dev/sda', blocksize: 3 }],
      ['copy_device_to_device', { src: '/dev/sda', dest: '/dev/sda', size: -5n }],
    ])('is a number out of range: %s %p', async (name, given) => {
      const failure = await session.failure(name, given);
      expect(failure.info?.metadata).toMatchObject({ action: name, state: 'READY' });
      expect(failure.details.length).toBeGreaterThan(10);
      expect([status.INVALID_ARGUMENT, status.UNKNOWN]).toContain(failure.code);
    });

    it("is a request over the daemon's limit, which is in the message", async () => {
      const failure = await session.failure('pwrite_device', {
        device: '/dev/sda',
        content: Buffer.alloc(4 * MEBIBYTE),
        offset: 0n,
      });
      expect(failure).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: expect.stringContaining(String(4 * MEBIBYTE)),
        info: { reason: 'MESSAGE_TOO_LARGE', metadata: { limit: String(4 * MEBIBYTE), action: 'pwrite_device' } },
      });
      expect(failure.details).toContain('use UploadOffset');
    });

    it('is not one just under it', async () => {
      const content = Buffer.alloc(4 * MEBIBYTE - 256, 'm');
      expect(await session.call('pwrite_device', { device: '/dev/sda', content, offset: 0n })).toBeGreaterThan(0);
    });

    it("is a request over gRPC's limit", async () => {
      const failure = await session.failure('pwrite', { path: '/x', content: Buffer.alloc(9 * MEBIBYTE), offset: 0n });
      expect(failure).toMatchObject({
        code: status.RESOURCE_EXHAUSTED,
        details: expect.stringContaining('use UploadOffset'),
        info: { reason: 'MESSAGE_TOO_LARGE', metadata: { limit: String(8 * MEBIBYTE), action: 'pwrite' } },
      });
    });

    it('is a method or a service that there is not', async () => {
      for (const path of [
        '/guestfs.v1.FileService/NoSuchMethod',
        '/guestfs.v1.NoSuchService/Mkdir',
        '/guestfs.v2.FileService/Mkdir',
      ]) {
        expect(
          await failureOf(rawUnary(scene.client, path, Buffer.alloc(0), sessionMetadata(session.id))),
        ).toMatchObject({ code: status.UNIMPLEMENTED });
      }
    });

    it('is an event type that there is not', async () => {
      const failure = await failureOf(scene.client.subscribe(session.id, [99 as EventType]));
      expect(failure).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining('99'),
        info: { fields: ['types[0]'] },
      });
    });
  });
});
