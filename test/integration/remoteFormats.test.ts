/** Images in a format that servers on the network have: what they are, and what they must not lead to. */
import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { execFile } from 'node:child_process';
import { status } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import type { DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { describeWithAppliance } from '../support/appliance.js';
import { changingWebServer, type ChangingWebServer } from '../support/changingWebServer.js';
import { run, sha256 } from '../support/diskImages.js';
import { nginx, type DiskServer } from '../support/diskServers.js';
import { alpine } from '../support/guests/alpine.js';
import { makeGuest } from '../support/guests/guest.js';
import { reportedSystems } from '../support/guests/observed.js';
import { leadingHeader } from '../support/leadingQcow2.js';
import { launchSession, serverForTests } from '../support/scene.js';
import { failureOf, remoteDrive, type SessionClient } from '../support/testClient.js';

const MEBIBYTE = 1 << 20;
const SIZE = 8 * MEBIBYTE;
const WORDS = Buffer.from('what the image has');
const SECRET = 'what the host has. ';
/** With room before the words for an end of the image in any format. */
const WORDS_AT = 5 * MEBIBYTE;

/** Where data begins in a small qcow2 image: after its header and four tables. */
const FIRST_DATA_CLUSTER = 5 * 65536;

describeWithAppliance('an image in a format, from the network', () => {
  const scene = serverForTests({ flags: ['--allow', 'remote-drives'] });
  let web: DiskServer;
  const image = (name: string): string => join(scene.server.images, name);
  const served = (filename: string, format: string | undefined, more: Partial<DriveSpec> = {}): DriveSpec =>
    remoteDrive({ protocol: 'http', server: [web.address], filename: `/${filename}` }, { format, ...more });
  const read = (session: SessionClient, device: string): Promise<Buffer> =>
    session.call('pread_device', { device, count: WORDS.length, offset: BigInt(WORDS_AT) });
  const convert = (format: string, ...options: readonly string[]): void =>
    void run('qemu-img', 'convert', '-f', 'raw', '-O', format, ...options, image('raw'), image(format));

  beforeAll(async () => {
    const raw = Buffer.alloc(SIZE);
    WORDS.copy(raw, WORDS_AT);
    writeFileSync(image('raw'), raw);
    chmodSync(scene.server.images, 0o755);
    web = await nginx({ root: scene.server.images, directory: mkdtempSync(image('nginx-')) });
  });
  afterAll(() => web.stop());

  it('is read in every format that is complete in one file, and written in an overlay', async () => {
    const formats = ['qcow2', 'vdi', 'vhdx', 'vpc', 'qed', 'qcow', 'parallels'];
    for (const format of formats) convert(format, ...(format === 'vpc' ? ['-o', 'force_size=on'] : []));
    run(
      'qemu-img',
      'convert',
      '-c',
      '-f',
      'raw',
      '-O',
      'qcow2',
      '-o',
      'cluster_size=2M,compression_type=zstd',
      image('raw'),
      image('large.qcow2'),
    );
    run(
      'qemu-img',
      'convert',
      '-f',
      'raw',
      '-O',
      'qcow2',
      '-o',
      'cluster_size=512,compat=0.10',
      image('raw'),
      image('small.qcow2'),
    );
    const drives = [
      ...formats.map((format) => served(format, format)),
      served('large.qcow2', 'qcow2'),
      served('small.qcow2', 'qcow2', { label: 'small' }),
      served('qcow2', undefined),
    ];
    const before = await sha256(image('qcow2'));
    const session = await launchSession(scene.client, drives);
    const devices: string[] = await session.call('list_devices');
    expect(devices).toHaveLength(drives.length);
    for (const device of devices.slice(0, -1)) {
      expect({
        device,
        size: await session.call('blockdev_getsize64', { device }),
        words: await read(session, device),
      }).toEqual({ device, size: BigInt(SIZE), words: WORDS });
    }
    // Without a format it is the bytes themselves.
    expect(await session.call('pread_device', { device: devices.at(-1), count: 4, offset: 0n })).toEqual(
      Buffer.from('QFI\xfb', 'latin1'),
    );
    await session.call('pwrite_device', {
      device: '/dev/sda',
      content: Buffer.from('other'),
      offset: BigInt(WORDS_AT),
    });
    expect(await read(session, '/dev/sda')).toEqual(Buffer.from(`other${WORDS.toString().slice(5)}`));
    await scene.client.deleteSession(session.id);
    expect(await sha256(image('qcow2'))).toBe(before);
  });

  it('is refused if it refers to another file, and the session still works', async () => {
    run('qemu-img', 'create', '-q', '-f', 'qcow2', '-u', '-b', '/etc/passwd', '-F', 'raw', image('over.qcow2'), '1M');
    run('qemu-img', 'create', '-q', '-f', 'vmdk', '-o', 'subformat=monolithicFlat', image('flat.vmdk'), '1M');
    for (const [name, format, words] of [
      ['over.qcow2', 'qcow2', "has a backing file, '/etc/passwd'"],
      ['flat.vmdk', 'vmdk', 'can name files of this host'],
      ['raw', 'qcow2', "is not in format 'qcow2'"],
    ] as const) {
      const failure = await failureOf(scene.client.createSession({ drives: [served(name, format)], launch: true }));
      expect(failure).toMatchObject({ code: status.FAILED_PRECONDITION, info: { reason: 'IMAGE_UNUSABLE' } });
      expect(failure.details).toContain(`http drive '${web.address}/${name}' `);
      expect(failure.details).toContain(words);
    }
  });

  it('can be inspected', async () => {
    run(
      'qemu-img',
      'convert',
      '-f',
      'raw',
      '-O',
      'qcow2',
      image(await makeGuest(scene.client, scene.server.images, alpine)),
      image('alpine.qcow2'),
    );
    const report = await scene.client.inspect({
      drives: [
        {
          source: {
            $case: 'remote',
            value: {
              protocol: 'http',
              server: [web.address],
              filename: '/alpine.qcow2',
              username: undefined,
              secret: undefined,
            },
          },
          format: 'qcow2',
          blocksize: undefined,
          backing_formats: [],
        },
      ],
    });
    expect(reportedSystems(report)).toMatchObject(alpine.systems);
  });

  it('is attached to and detached from a running session', async () => {
    const session = await launchSession(scene.client, [served('raw', 'raw')]);
    await session.call('add_drive', {
      filename: '/qcow2',
      protocol: 'http',
      server: { values: [web.address] },
      format: 'qcow2',
      readonly: true,
      label: 'late',
    });
    expect(await read(session, '/dev/disk/guestfs/late')).toEqual(WORDS);
    const failure = await failureOf(
      session.call('add_drive', {
        filename: '/over.qcow2',
        protocol: 'http',
        server: { values: [web.address] },
        format: 'qcow2',
        readonly: true,
      }),
    );
    expect(failure).toMatchObject({ info: { reason: 'IMAGE_UNUSABLE' } });
    await session.call('remove_drive', { label: 'late' });
    expect(await session.call('list_devices')).toEqual(['/dev/sda']);
    await scene.client.deleteSession(session.id);
  });

  describeWithAppliance('whose server shows another header as soon as it was read', () => {
    let changing: ChangingWebServer;
    const host = (): string => image('host');

    beforeAll(() => {
      // Each cluster is at its guest offset: qemu follows a header to another file only in that case.
      const dense = Buffer.alloc(SIZE, 'x').fill(0, 0, FIRST_DATA_CLUSTER);
      WORDS.copy(dense, WORDS_AT);
      writeFileSync(image('dense'), dense);
      run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', image('dense'), image('dense.qcow2'));
      // For everybody to read, as much of a host is.
      writeFileSync(host(), SECRET.repeat(SIZE / SECRET.length), { mode: 0o644 });
    });
    afterEach(() => changing.stop());

    const start = async (): Promise<ChangingWebServer> =>
      (changing = await changingWebServer(
        readFileSync(image('dense.qcow2')),
        leadingHeader(readFileSync(image('dense.qcow2')), host()),
      ));
    const drive = (): DriveSpec =>
      remoteDrive({ protocol: 'http', server: [changing.address], filename: '/disk' }, { format: 'qcow2' });

    it('would have qemu itself read files of this host', async () => {
      await start();
      const letters = async (): Promise<string> => {
        const { stdout } = await promisify(execFile)(
          'qemu-io',
          ['-r', '-f', 'qcow2', '-c', `read -v ${WORDS_AT} 512`, `http://${changing.address}/disk`],
          { timeout: 60_000 },
        );
        return Array.from(stdout.matchAll(/^[0-9a-f]{8}: .* {2}(\S+)$/gm), ([, row]) => row)
          .join('')
          .replaceAll('.', ' ');
      };
      expect(await letters()).toContain(WORDS.toString());
      expect(await letters()).toContain(SECRET.replace('.', ' '));
    });

    it('lets a guest read what was checked, and nothing of this host', async () => {
      await start();
      const session = await launchSession(scene.client, [drive()]);
      expect(await read(session, '/dev/sda')).toEqual(WORDS);
      const whole = await session.call('pread_device', {
        device: '/dev/sda',
        count: MEBIBYTE,
        offset: BigInt(WORDS_AT - 4096),
      });
      expect((whole as Buffer).includes(SECRET)).toBe(false);
      await session.call('checksum_device', { csumtype: 'md5', device: '/dev/sda' });
      expect(changing.reads()).toBe(1);
      await scene.client.deleteSession(session.id);
    });

    it('has a guest that runs read the same', async () => {
      await start();
      const session = await launchSession(scene.client, [served('raw', 'raw')]);
      await session.call('add_drive', {
        filename: '/disk',
        protocol: 'http',
        server: { values: [changing.address] },
        format: 'qcow2',
        readonly: true,
      });
      expect(await read(session, '/dev/sdb')).toEqual(WORDS);
      expect(changing.reads()).toBe(1);
      // From now on, what can be seen is refused.
      expect(
        (
          await failureOf(
            session.call('add_drive', {
              filename: '/disk',
              protocol: 'http',
              server: { values: [changing.address] },
              format: 'qcow2',
              readonly: true,
            }),
          )
        ).details,
      ).toContain('keeps its data in another file');
      await scene.client.deleteSession(session.id);
    });
  });
});
