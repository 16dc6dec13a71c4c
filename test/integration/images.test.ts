/**
 * Drives as a real qemu takes them: as an unprivileged user, in its sandbox, by
 * descriptor only. Nothing is booted; the machine stands still.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Drive } from '../../src/images/drive.js';
import { createForeignProbe } from '../../src/images/foreignProbe.js';
import { abortController } from '../../src/common/waiting.js';
import type { GuestfsError } from '../../src/common/errors.js';
import { drivesFromRequest } from '../../src/images/addDriveRequest.js';
import { attachDrives } from '../../src/launcher/attachDrives.js';
import { requireGivenNodesOnly } from '../../src/launcher/checkNodes.js';
import { copyHead } from '../../src/images/imageHead.js';
import { ImageClaims, ImageUses } from '../../src/images/imageUses.js';
import {
  prepareDrives,
  type DriveContext,
  type PreparedDrive,
  type PreparedDrives,
} from '../../src/images/prepareDrives.js';
import { openImage } from '../../src/security/pathPolicy.js';
import { QmpError, type QmpClient } from '../../src/qemu/qmpClient.js';
import { dirtyVhdx } from '../support/dirtyVhdx.js';
import { leadingHeader } from '../support/leadingQcow2.js';
import { nbdkit } from '../support/diskServers.js';
import { encryptedQcow2 } from '../support/encryptedImage.js';
import { tarArchive } from '../support/tarArchive.js';
import {
  errorOf,
  fileDrive,
  makeScene,
  nbdDrive,
  openFiles,
  overlayImage,
  qcow2Image,
  qemuImg,
  rawImage,
  scratchDrive,
  type Scene,
} from '../unit/images/scene.js';

const QEMU = `qemu-system-${{ x64: 'x86_64', arm64: 'aarch64' }[process.arch as string] ?? process.arch}`;
const MACHINE = process.arch === 'arm64' ? 'virt' : 'q35';
const NOBODY = { uid: 65534, gid: 65534 };
const isRoot = process.getuid?.() === 0;

let scene: Scene;
/** Passed on to qemu, from descriptor 3 on. */
let files: (FileHandle | { readonly fd: number; readonly isSocket: true })[];
let context: DriveContext;
const running: ChildProcess[] = [];

beforeEach(() => {
  scene = makeScene();
  files = [];
  context = {
    runDirectory: scene.run,
    qemuBinary: QEMU,
    signal: abortController().signal,
    probe: createForeignProbe({
      qemuBinary: QEMU,
      users: { acquire: async () => (isRoot ? { ...NOBODY, release: async () => undefined } : undefined) },
    }),
    fdSets: {
      add: (file) => `/dev/fdset/${files.push(file)}`,
      connect: ({ fd }) => String(2 + files.push({ fd, isSocket: true })),
    },
    claims: new ImageClaims(new ImageUses()),
  };
  // Only root's; qemu has no right on any of it.
  chmodSync(scene.base, 0o700);
});
afterEach(async () => {
  for (const child of running.splice(0)) {
    if (child.exitCode === null && child.signalCode === null) {
      child.kill('SIGKILL');
      await once(child, 'exit');
    }
  }
  await context.claims.releaseAll();
  scene.remove();
});

const inRoot = (name: string): string => join(scene.root, name);
const sha = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

/** A machine that stands still, with a monitor. */
class StillQemu {
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #messages = '';
  /** The output of `qemu-io` appears between the monitor's lines. */
  #printed = '';

  constructor(args: readonly string[]) {
    const sandbox = ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'];
    const machine = [
      '-machine',
      MACHINE,
      '-accel',
      'tcg,tb-size=1',
      '-S',
      '-nodefaults',
      '-no-user-config',
      '-display',
      'none',
      '-qmp',
      'stdio',
      '-device',
      'virtio-scsi-pci,id=scsi',
    ];
    const fds = files.flatMap((file, index) =>
      'isSocket' in file ? [] : ['-add-fd', `fd=${3 + index},set=${index + 1}`],
    );
    this.#child = spawn(QEMU, [...sandbox, ...machine, ...fds, ...args], {
      stdio: ['pipe', 'pipe', 'pipe', ...files.map((file) => file.fd)],
      ...(isRoot ? NOBODY : {}),
    });
    running.push(this.#child);
    this.#child.stderr?.on('data', (bytes: Buffer) => (this.#messages += bytes.toString()));
    this.#lines = createInterface({ input: this.#child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  /** Sends a command; resolves with its result, or `{ error }`. */
  async command(execute: string, args: Record<string, unknown> = {}): Promise<unknown> {
    this.#child.stdin?.write(JSON.stringify({ execute, arguments: args }) + '\n');
    for (;;) {
      const { value, done } = await this.#lines.next();
      if (done === true) throw new Error(`qemu is gone: ${this.#messages}`);
      if (!value.startsWith('{')) {
        this.#printed += `${value}\n`;
        continue;
      }
      const answer = JSON.parse(value) as { readonly return?: unknown; readonly error?: { readonly desc: string } };
      if (answer.error !== undefined) return { error: answer.error.desc };
      if (answer.return !== undefined) return answer.return;
    }
  }

  /** Makes a drive's device execute a command of `qemu-io`, as if its guest had requested it. */
  async io(drive: string, command: string): Promise<void> {
    this.#printed = '';
    const answer = (await this.command('human-monitor-command', {
      'command-line': `qemu-io -d dev-${drive} "${command}"`,
    })) as string;
    expect({ command, printed: answer + this.#printed }).toEqual({
      command,
      printed: expect.stringMatching(/^(|(read|wrote|discard) (\d+)\/\3 bytes [^]*)$/),
    });
  }

  /** Its output if it ends unexpectedly. */
  async end(): Promise<string> {
    if (this.#child.exitCode === null) await once(this.#child, 'close');
    return this.#messages;
  }

  async stop(): Promise<void> {
    this.#child.stdin?.write('{"execute":"quit"}\n');
    await this.end();
  }
}

function start(prepared: PreparedDrives): StillQemu {
  return new StillQemu(
    prepared.drives.flatMap((drive) => [
      ...drive.blockNodes.flatMap((node) => ['-blockdev', JSON.stringify(node)]),
      '-device',
      JSON.stringify(device(drive)),
    ]),
  );
}

function device({ topNode, serial, blockSize }: PreparedDrive): Record<string, unknown> {
  return {
    ...{ driver: 'scsi-hd', drive: topNode, id: `dev-${topNode}` },
    ...(serial === undefined ? {} : { serial }),
    ...(blockSize === undefined ? {} : { logical_block_size: blockSize, physical_block_size: blockSize }),
  };
}

/** Prepares, starts, hands the files over. */
async function launch(drives: readonly Drive[]): Promise<{ qemu: StillQemu; prepared: PreparedDrives }> {
  const prepared = await prepareDrives(drives, context);
  const qemu = start(prepared);
  await qemu.command('qmp_capabilities');
  await prepared.dispose();
  return { qemu, prepared };
}

describe('qemu takes', () => {
  it('every kind of drive', async () => {
    rawImage(inRoot('raw'), 3 << 20);
    rawImage(inRoot('odd'), 1000);
    qcow2Image(inRoot('qcow2'), '5M');
    qcow2Image(inRoot('data'), '6M', '-o', `data_file=${inRoot('data.raw')},data_file_raw=on`);
    overlayImage(inRoot('over1'), 'raw');
    overlayImage(inRoot('over2'), 'over1', 'qcow2');
    const foreign = ['vmdk', 'vdi', 'vhdx', 'vpc', 'qcow', 'qed', 'parallels'];
    for (const format of foreign) qemuImg('create', '-q', '-f', format, inRoot(format), '8M');
    const before = openFiles();
    const { qemu } = await launch([
      ...['raw', 'odd', 'qcow2', ...foreign].map((name) => fileDrive(name)),
      fileDrive('data', { format: 'qcow2' }),
      fileDrive('over2', { format: 'qcow2', label: 'LABEL', blockSize: 4096 }),
      fileDrive('raw', { readonly: true }),
      ...['odd', 'qcow2', ...foreign].map((name) => fileDrive(name, { readonly: false, discard: 'besteffort' })),
      fileDrive('data', { format: 'qcow2', readonly: false, discard: 'enable', cacheMode: 'unsafe' }),
      fileDrive('over2', { format: 'qcow2', readonly: false, copyOnRead: true }),
      scratchDrive(9n << 20n),
      scratchDrive(1n << 50n, { blockSize: 4096 }),
    ]);
    const blocks = (await qemu.command('query-block')) as {
      inserted: { 'node-name': string; ro: boolean; image: { 'virtual-size': number } };
    }[];
    const mib = (count: number): number => count << 20;
    const foreignSizes = foreign.map((format) => (format === 'vpc' ? expect.any(Number) : mib(8)));
    expect(blocks.map((block) => block.inserted.image['virtual-size'])).toEqual([
      mib(3),
      1024,
      mib(5),
      ...foreignSizes,
      mib(6),
      mib(1),
      mib(3),
      1024,
      mib(5),
      ...foreignSizes,
      mib(6),
      mib(1),
      mib(9),
      2 ** 50,
    ]);
    expect(blocks.every((block) => !block.inserted.ro)).toBe(true);
    expect(blocks.map((block) => block.inserted['node-name'])).toEqual(blocks.map((_block, index) => `drive${index}`));
    expect(readdirSync(scene.run)).toEqual([]);
    await qemu.stop();
    // Until then, the server watches the files of the images.
    await context.claims.releaseAll();
    expect(openFiles()).toBeLessThanOrEqual(before + 3);
  });

  it('drives of the network, and the files that they need', async () => {
    qcow2Image(inRoot('a'), '3M');
    execFileSync('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 1M 64k', inRoot('a')]);
    const server = await nbdkit(inRoot('a'));
    const before = openFiles();
    const { qemu, prepared } = await launch([
      nbdDrive(server.address, { format: 'qcow2' }),
      nbdDrive(server.address, { readonly: true }),
    ]);
    expect(prepared.drives.map(({ format }) => format)).toEqual(['qcow2', 'raw']);
    await qemu.io('drive0', 'read -P 7 1M 64k');
    await qemu.io('drive0', 'read -P 0 2M 1M');
    await qemu.io('drive0', 'write -P 8 0 64k');
    await qemu.io('drive1', 'read -P 0x51 0 1');
    await qemu.stop();
    // Until then, other processes provide the drives.
    await context.claims.releaseAll();
    // This process has three pipes of the machine open.
    expect(openFiles()).toBeLessThanOrEqual(before + 3);
    expect(readdirSync(scene.run)).toEqual([]);
    await server.stop();
  });

  it('drives through a hot-plug, too', async () => {
    qcow2Image(inRoot('a'), '1M');
    const prepared = await prepareDrives([fileDrive('a')], context);
    const qemu = new StillQemu([]);
    await qemu.command('qmp_capabilities');
    for (const drive of prepared.drives) {
      for (const node of drive.blockNodes) expect(await qemu.command('blockdev-add', node)).toEqual({});
      expect(await qemu.command('device_add', device(drive))).toEqual({});
    }
    await prepared.dispose();
    await qemu.stop();
  });
});

describe('an image as people have it', () => {
  it('is a disk in an OVA, read where it is', async () => {
    rawImage(inRoot('raw'), 8 << 20);
    execFileSync('qemu-io', ['-f', 'raw', '-c', 'write -P 7 1M 64k', '-c', 'write -P 9 8388096 512', inRoot('raw')]);
    const formats = ['vmdk', 'qcow2', 'vdi', 'vhdx'];
    for (const format of formats) {
      const options = format === 'vmdk' ? ['-o', 'subformat=streamOptimized'] : [];
      qemuImg('convert', '-O', format, ...options, inRoot('raw'), inRoot(format));
    }
    const disks = formats.map((name) => ({ name, content: readFileSync(inRoot(name)) }));
    const raw = { name: 'disk.img', content: readFileSync(inRoot('raw')) };
    writeFileSync(inRoot('a.ova'), tarArchive([{ name: 'a.ovf', content: 'text' }, ...disks, raw]));
    const before = sha(inRoot('a.ova'));
    const drives = await drivesFromRequest('a.ova', { readonly: true }, { directories: [scene.root] });
    expect(drives).toHaveLength(5);
    const { qemu } = await launch(drives);
    for (const name of drives.keys())
      for (const command of ['read -P 7 1M 64k', 'read -P 9 8388096 512', 'read -P 0 2M 1M', 'write 0 64k'])
        await qemu.io(`drive${name}`, command);
    await qemu.stop();
    expect(sha(inRoot('a.ova'))).toBe(before);
  });

  it('is encrypted, and opened with a passphrase that qemu forgets', async () => {
    encryptedQcow2(inRoot('a.qcow2'), '8M', 'pass "word"');
    const attach = async (
      key: string,
      readonly: boolean,
      use: (qemu: StillQemu) => Promise<void>,
    ): Promise<GuestfsError | undefined> => {
      files.length = 0;
      const prepared = await prepareDrives([fileDrive('a.qcow2', { format: 'qcow2', readonly, key })], context);
      expect(JSON.stringify(prepared.drives.map(({ blockNodes }) => blockNodes))).not.toContain('pass');
      const qemu = new StillQemu([]);
      await qemu.command('qmp_capabilities');
      const sent: string[] = [];
      const execute = async (command: string, args: Record<string, unknown> = {}): Promise<unknown> => {
        sent.push(command);
        const { id, ...properties } = args;
        const answer = await qemu.command(
          command,
          command === 'device_add' ? { ...device(first), id: `dev-${String(properties['drive'])}` } : args,
        );
        if (typeof (answer as { error?: unknown }).error === 'string')
          throw new QmpError(command, String(id), (answer as { error: string }).error);
        return answer;
      };
      const [first] = prepared.drives as [PreparedDrive];
      // The monitor answers one command at a time.
      let last: Promise<unknown> = Promise.resolve();
      const monitor = {
        execute: (command: string, args?: Record<string, unknown>) =>
          (last = last.then(
            () => execute(command, args),
            () => execute(command, args),
          )),
      };
      const attached = attachDrives(
        monitor as unknown as QmpClient,
        { prepared, firstIndex: 0, startedWith: 'nodes' },
        context.signal,
      );
      const failure = await attached.then(
        () => undefined,
        (error: unknown) => error as GuestfsError,
      );
      expect(sent[0]).toBe('object-add');
      expect(sent).toContain('object-del');
      expect(await qemu.command('qom-list', { path: '/objects' })).not.toContainEqual(
        expect.objectContaining({ name: 'drive0-key' }),
      );
      if (failure === undefined) await use(qemu);
      await qemu.stop();
      await prepared.dispose();
      return failure;
    };
    expect(await attach('pass "word"', false, (qemu) => qemu.io('drive0', 'write -P 7 0 64k'))).toBeUndefined();
    expect(await attach('pass "word"', true, (qemu) => qemu.io('drive0', 'read -P 7 0 64k'))).toBeUndefined();
    expect(readFileSync(inRoot('a.qcow2')).includes(Buffer.alloc(4096, 7))).toBe(false);
    expect(await attach('another', true, async () => undefined)).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringMatching(/^image 'a.qcow2' cannot be attached: Invalid password/),
    });
  });
});

describe('what is written', () => {
  it('to a read-only drive never reaches an image', async () => {
    writeFileSync(inRoot('raw'), Buffer.alloc(1 << 20, 'r'));
    writeFileSync(inRoot('base'), Buffer.alloc(1 << 20, 'b'));
    overlayImage(inRoot('over'), 'base');
    const names = ['raw', 'base', 'over'];
    const sums = names.map((name) => sha(inRoot(name)));
    const { qemu } = await launch([fileDrive('raw'), fileDrive('over', { format: 'qcow2' })]);
    for (const [node, pattern] of [
      ['drive0', 'r'],
      ['drive1', 'b'],
    ] as const) {
      const code = pattern.charCodeAt(0);
      await qemu.io(node, `read -P ${code} 0 1M`);
      await qemu.io(node, 'write -P 1 4096 64k');
      await qemu.io(node, 'discard 512k 64k');
      await qemu.io(node, 'flush');
      await qemu.io(node, 'read -P 1 4096 64k');
      await qemu.io(node, `read -P ${code} 0 4096`);
    }
    await qemu.stop();
    expect(names.map((name) => sha(inRoot(name)))).toEqual(sums);
  });

  it('to a writable drive is in the image, and only there', async () => {
    rawImage(inRoot('raw'), 1 << 20);
    writeFileSync(inRoot('base'), Buffer.alloc(1 << 20, 'b'));
    overlayImage(inRoot('over'), 'base');
    qcow2Image(inRoot('split'), '1M', '-o', `data_file=${inRoot('split.raw')},data_file_raw=on`);
    const base = sha(inRoot('base'));
    const { qemu } = await launch([
      fileDrive('raw', { readonly: false }),
      fileDrive('over', { format: 'qcow2', readonly: false }),
      fileDrive('split', { format: 'qcow2', readonly: false }),
    ]);
    for (const node of ['drive0', 'drive1', 'drive2']) await qemu.io(node, 'write -P 7 65536 4096');
    await qemu.stop();
    expect(sha(inRoot('base'))).toBe(base);
    for (const raw of ['raw', 'split.raw']) {
      const contents = readFileSync(inRoot(raw));
      expect(contents.subarray(65536, 69632).equals(Buffer.alloc(4096, 7))).toBe(true);
      expect(contents.subarray(0, 65536).equals(Buffer.alloc(65536))).toBe(true);
    }
    execFileSync('qemu-io', [
      '-f',
      'qcow2',
      '-c',
      'read -P 7 65536 4096',
      '-c',
      'read -P 98 69632 4096',
      inRoot('over'),
    ]);
    expect(JSON.parse(qemuImg('check', '--output=json', inRoot('over')))).toMatchObject({ 'check-errors': 0 });
  });

  it('frees space only where discard is on', async () => {
    for (const name of ['on', 'off']) writeFileSync(inRoot(name), Buffer.alloc(1 << 20, 'x'));
    const { qemu } = await launch([
      fileDrive('on', { readonly: false, discard: 'enable' }),
      fileDrive('off', { readonly: false }),
    ]);
    for (const node of ['drive0', 'drive1']) await qemu.io(node, 'discard 0 1M');
    await qemu.stop();
    expect(readFileSync(inRoot('on')).equals(Buffer.alloc(1 << 20))).toBe(true);
    expect(readFileSync(inRoot('off')).equals(Buffer.alloc(1 << 20, 'x'))).toBe(true);
  });
});

describe('references in headers', () => {
  it('are read once: what changes afterwards is not followed', async () => {
    writeFileSync(inRoot('mine'), Buffer.alloc(1 << 20, 'm'));
    writeFileSync(inRoot('other'), Buffer.alloc(1 << 20, 'o'));
    overlayImage(inRoot('over'), inRoot('mine'));
    const prepared = await prepareDrives([fileDrive('over', { format: 'qcow2' })], context);
    qemuImg('rebase', '-u', '-b', inRoot('other'), '-F', 'raw', inRoot('over'));
    const qemu = start(prepared);
    await qemu.command('qmp_capabilities');
    await qemu.io('drive0', `read -P ${'m'.charCodeAt(0)} 0 1M`);
    await qemu.stop();
    await prepared.dispose();
  });
});

describe('a VHDX image with a log to replay', () => {
  it('is replayed when it is written, and in a copy when it is only read', async () => {
    rawImage(inRoot('raw'), 400 << 20);
    execFileSync('qemu-io', ['-f', 'raw', '-c', 'write -P 7 20M 64k', inRoot('raw')]);
    dirtyVhdx(inRoot('raw'), inRoot('vhdx'));
    const before = sha(inRoot('vhdx'));
    for (const readonly of [true, false]) {
      files.length = 0;
      const { qemu } = await launch([fileDrive('vhdx', { readonly })]);
      await qemu.io('drive0', 'read -P 7 20M 64k');
      await qemu.stop();
      expect([readonly, sha(inRoot('vhdx')) === before]).toEqual([readonly, readonly]);
    }
  });
});

describe('an image that cannot be written', () => {
  it('is refused at once: stream-optimised VMDK', async () => {
    rawImage(inRoot('raw'), 1 << 20);
    qemuImg('convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', inRoot('raw'), inRoot('vmdk'));
    expect(await errorOf(prepareDrives([fileDrive('vmdk', { readonly: false })], context))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('is a stream-optimised VMDK, which can only be read'),
    });
    const { qemu } = await launch([fileDrive('vmdk')]);
    await qemu.stop();
  });
});

describe('an image in use', () => {
  it('elsewhere: a writable drive is refused by name, a read-only one is not', async () => {
    rawImage(inRoot('raw'), 1 << 20);
    qcow2Image(inRoot('qcow2'), '1M');
    for (const name of ['raw', 'qcow2']) {
      const holder = spawn('qemu-io', ['-f', name, inRoot(name)], { stdio: ['pipe', 'pipe', 'inherit'] });
      running.push(holder);
      await once(holder.stdout, 'data');
      files.length = 0;
      const { qemu: reader } = await launch([fileDrive(name)]);
      await reader.stop();

      files.length = 0;
      const prepared = await prepareDrives([scratchDrive(512n), fileDrive(name, { readonly: false })], context);
      const messages = await start(prepared).end();
      await prepared.dispose();
      expect(prepared.explain(messages)).toMatchObject({
        reason: 'IMAGE_LOCKED',
        message: expect.stringContaining(`image '${name}' is in use`),
      });

      // As a hot-plug would see it.
      files.length = 0;
      const again = await prepareDrives([fileDrive(name, { readonly: false })], context);
      const qemu = new StillQemu([]);
      await qemu.command('qmp_capabilities');
      const [drive] = again.drives as [PreparedDrive];
      const answers: unknown[] = [];
      for (const node of drive.blockNodes) answers.push(await qemu.command('blockdev-add', node));
      answers.push(await qemu.command('device_add', device(drive)));
      const refused = answers.find(
        (answer): answer is { error: string } => typeof (answer as { error?: unknown }).error === 'string',
      );
      expect(again.explain(refused?.error ?? '', drive)).toMatchObject({
        reason: 'IMAGE_LOCKED',
        message: expect.stringContaining(`image '${name}' is in use`),
      });
      await qemu.stop();
      await again.dispose();
      holder.stdin.end();
      await once(holder, 'exit');
    }
  });

  it('by a session: others cannot write it until qemu ends', async () => {
    rawImage(inRoot('raw'), 1 << 20);
    const { qemu } = await launch([fileDrive('raw', { readonly: false })]);
    const write = (): string =>
      execFileSync('qemu-io', ['-f', 'raw', '-c', 'write 0 512', inRoot('raw')], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      });
    expect(write).toThrow('lock');
    await qemu.stop();
    expect(write()).toContain('wrote 512');
  });

  it('twice in one session is refused', async () => {
    rawImage(inRoot('raw'), 1 << 20);
    const prepared = await prepareDrives(
      [fileDrive('raw', { readonly: false }), fileDrive('raw', { readonly: false })],
      context,
    );
    const messages = await start(prepared).end();
    await prepared.dispose();
    expect(prepared.explain(messages)).toMatchObject({
      reason: 'IMAGE_LOCKED',
      message: expect.stringContaining('attached twice'),
    });
  });

  it('under a writable overlay: the base cannot be written', async () => {
    rawImage(inRoot('base'), 1 << 20);
    overlayImage(inRoot('over'), 'base');
    const { qemu } = await launch([fileDrive('over', { format: 'qcow2', readonly: false })]);
    expect(() =>
      execFileSync('qemu-io', ['-f', 'raw', '-c', 'write 0 512', inRoot('base')], {
        stdio: ['ignore', 'pipe', 'pipe'],
      }),
    ).toThrow('lock');
    await qemu.stop();
  });
});

describe('an image that qemu cannot open', () => {
  it('is explained by name', async () => {
    qcow2Image(inRoot('bad'), '1M');
    const bytes = readFileSync(inRoot('bad'));
    bytes.writeUInt32BE(0x7fffffff, 36);
    writeFileSync(inRoot('bad'), bytes);
    const prepared = await prepareDrives([fileDrive('bad', { label: 'x' })], context);
    const messages = await start(prepared).end();
    await prepared.dispose();
    const error = prepared.explain(messages);
    expect(error).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining("image 'bad' cannot be attached: Active L1 table"),
    });
    expect(error?.message).not.toContain('fdset');
    expect(error?.message).not.toContain('-blockdev');
  });

  it('is refused by the probe, which needs no right on the file', async () => {
    qemuImg('create', '-q', '-f', 'vdi', inRoot('good'), '3M');
    chmodSync(inRoot('good'), 0o600);
    const bytes = readFileSync(inRoot('good'));
    bytes.writeUInt32LE(0x7fffffff, 0x180);
    writeFileSync(inRoot('bad'), bytes);
    const probe = context.probe as NonNullable<DriveContext['probe']>;
    for (const [name, check] of [
      ['good', (asked: Promise<bigint>) => expect(asked).resolves.toBe(3n << 20n)],
      [
        'bad',
        async (asked: Promise<bigint>) => expect(await errorOf(asked)).toMatchObject({ reason: 'IMAGE_UNUSABLE' }),
      ],
    ] as const) {
      const image = await openImage(name, { directories: [scene.root] }, 'read-only');
      await check(probe({ ...image, head: await copyHead(image, name) }, 'vdi', `image '${name}'`, context.signal));
      await image.handle.close();
    }
  });
});

describe('a header that changes after it was checked', () => {
  const SECRET = 'nobody who has only images may read this';
  let secret: string;

  /** Has a session's drive opened after `change`, and returns what its guest would see first. */
  async function opened(
    drive: Drive,
    change: () => void,
  ): Promise<{ readonly qemu: StillQemu; readonly nodes: readonly string[] }> {
    const prepared = await prepareDrives([drive], context);
    change();
    const qemu = start(prepared);
    await qemu.command('qmp_capabilities');
    await prepared.dispose();
    const nodes = (await qemu.command('query-named-block-nodes', { flat: true })) as { 'node-name': string }[];
    return { qemu, nodes: nodes.map((node) => node['node-name']) };
  }

  beforeEach(() => {
    // World-readable, so that only the checks decide.
    chmodSync(scene.base, 0o755);
    secret = join(scene.base, 'secret');
    writeFileSync(secret, SECRET.padEnd(1 << 20));
    chmodSync(secret, 0o666);
  });

  it('of qcow2 leads a read-only drive nowhere', async () => {
    const path = qcow2Image(inRoot('a.qcow2'), '1M');
    const image = readFileSync(path);
    const { qemu, nodes } = await opened(fileDrive('a.qcow2', { format: 'qcow2' }), () =>
      writeFileSync(path, Buffer.concat([leadingHeader(image, secret), image.subarray(65536)])),
    );
    expect(nodes.filter((name) => !name.startsWith('drive0'))).toEqual([]);
    await qemu.io('drive0', 'read -P 0 0 64k');
    await qemu.stop();
  });

  it('of a backing file leads nowhere', async () => {
    const path = qcow2Image(inRoot('base.qcow2'), '1M');
    overlayImage(inRoot('over.qcow2'), 'base.qcow2', 'qcow2');
    const image = readFileSync(path);
    const { qemu, nodes } = await opened(fileDrive('over.qcow2', { format: 'qcow2', readonly: false }), () =>
      writeFileSync(path, Buffer.concat([leadingHeader(image, secret), image.subarray(65536)])),
    );
    expect(nodes.filter((name) => !name.startsWith('drive0'))).toEqual([]);
    await qemu.io('drive0', 'read -P 0 0 64k');
    await qemu.stop();
  });

  it('of VMDK opens no extents', async () => {
    qemuImg('create', '-q', '-f', 'vmdk', inRoot('a.vmdk'), '1M');
    const { qemu, nodes } = await opened(fileDrive('a.vmdk'), () => {
      const descriptor = `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "${secret}" 0\n`;
      writeFileSync(inRoot('a.vmdk'), descriptor.padEnd(1 << 16, '\0'));
    });
    expect(nodes.filter((name) => !name.startsWith('drive0'))).toEqual([]);
    await qemu.stop();
  });

  it('of a writable drive makes qemu open a node without a name, for which its machine is ended', async () => {
    const path = qcow2Image(inRoot('a.qcow2'), '1M');
    const image = readFileSync(path);
    const { qemu, nodes } = await opened(fileDrive('a.qcow2', { format: 'qcow2', readonly: false }), () =>
      writeFileSync(path, Buffer.concat([leadingHeader(image, secret), image.subarray(65536)])),
    );
    expect(nodes.some((name) => name.startsWith('#'))).toBe(true);
    const monitor = { execute: (name: string, args: object) => qemu.command(name, { ...args }) };
    expect(await errorOf(requireGivenNodesOnly(monitor as QmpClient, context.signal))).toMatchObject({
      reason: 'IMAGE_UNUSABLE',
      message: expect.stringContaining('was changed after it was checked'),
    });
    await qemu.stop();
  });

  it('is no matter to the measuring of an image', async () => {
    qemuImg('create', '-q', '-f', 'vmdk', inRoot('a.vmdk'), '1M');
    const image = await openImage('a.vmdk', { directories: [scene.root] }, 'read-only');
    const head = await copyHead(image, 'it');
    const descriptor = `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 4096 FLAT "${secret}" 0\n`;
    writeFileSync(inRoot('a.vmdk'), descriptor.padEnd(1 << 16, '\0'));
    const probe = context.probe as NonNullable<DriveContext['probe']>;
    expect(await probe({ ...image, head }, 'vmdk', 'it', context.signal)).toBe(1n << 20n);
    await image.handle.close();
  });
});

describe('a VMDK in several files', () => {
  /** A disk that ends in its third file of 2 GiB. */
  const SIZE = '4100M';
  /** What is where on it: at the start, around the ends of the files, and at its end. */
  const DATA: readonly (readonly [at: number, length: number, byte: number])[] = [
    [0, 65536, 1],
    [2 ** 31 - 65536, 65536, 2],
    [2 ** 31, 65536, 3],
    [2 ** 32 - 512, 1024, 4],
    [4100 * 2 ** 20 - 512, 512, 5],
  ];

  function write(format: string, path: string, data: typeof DATA): void {
    const commands = data.flatMap(([at, length, byte]) => ['-c', `write -P ${byte} ${at} ${length}`]);
    execFileSync('qemu-io', ['-f', format, ...commands, path], { stdio: 'ignore' });
  }

  function make(subformat: string, name: string, ...more: readonly string[]): void {
    const option = subformat === '' ? [] : ['-o', `subformat=${subformat}`];
    qemuImg('create', '-q', '-f', 'vmdk', ...option, ...more, inRoot(name), ...(more.length > 0 ? [] : [SIZE]));
  }

  /** Attaches an image, and reads what is expected. */
  async function read(name: string, data: typeof DATA): Promise<void> {
    const { qemu, prepared } = await launch([fileDrive(name, { format: 'vmdk' })]);
    expect(prepared.drives[0]?.format).toMatch(/^(?:vmdk|raw)$/);
    const nodes = (await qemu.command('query-named-block-nodes', { flat: true })) as {
      readonly 'node-name': string;
      readonly drv: string;
    }[];
    expect(nodes.filter((node) => !node['node-name'].startsWith('drive0'))).toEqual([]);
    // No parser but the server's own has read them.
    expect(nodes.map(({ drv }) => drv)).not.toContain('vmdk');
    for (const [at, length, byte] of data) await qemu.io('drive0', `read -P ${byte} ${at} ${length}`);
    await qemu.stop();
    await context.claims.releaseAll();
  }

  it.each(['twoGbMaxExtentSparse', 'twoGbMaxExtentFlat', 'monolithicFlat'])(
    '(%s) is read, and so are snapshots of it',
    async (subformat) => {
      make(subformat, 'base.vmdk');
      write('vmdk', inRoot('base.vmdk'), DATA);
      const between = [
        [2 ** 30, 4096, 0],
        [2 ** 31 + 65536, 65536, 0],
        [2 ** 32 + 512, 65536, 0],
      ] as const;
      await read('base.vmdk', [...DATA, ...between]);
      // A snapshot in one file, and one of it in several.
      make('', 'one.vmdk', '-b', inRoot('base.vmdk'), '-F', 'vmdk');
      const [, ...others] = DATA;
      const changed = [
        [0, 65536, 6],
        [2 ** 30, 4096, 7],
      ] as const;
      write('vmdk', inRoot('one.vmdk'), changed);
      await read('one.vmdk', [...changed, ...others]);
      make('twoGbMaxExtentSparse', 'two.vmdk', '-b', inRoot('one.vmdk'), '-F', 'vmdk');
      const again = [
        [2 ** 31 - 65536, 131072, 8],
        [4100 * 2 ** 20 - 65536, 65536, 9],
      ] as const;
      write('vmdk', inRoot('two.vmdk'), again);
      await read('two.vmdk', [...changed, ...again, [2 ** 32 - 512, 1024, 4]]);
      if (subformat === 'monolithicFlat') return;
      expect(
        await errorOf(prepareDrives([fileDrive('base.vmdk', { format: 'vmdk', readonly: false })], context)),
      ).toMatchObject({
        reason: 'IMAGE_UNUSABLE',
        message: expect.stringContaining('can only be attached read-only'),
      });
    },
  );

  it('lets grains of zeros hide those of its parent', async () => {
    make('', 'base.vmdk');
    write('vmdk', inRoot('base.vmdk'), [[0, 1 << 20, 1]]);
    make('', 'top.vmdk', '-b', inRoot('base.vmdk'), '-F', 'vmdk', '-o', 'zeroed_grain=on');
    execFileSync('qemu-io', ['-f', 'vmdk', '-c', 'write -z 65536 131072', inRoot('top.vmdk')], { stdio: 'ignore' });
    const { qemu } = await launch([fileDrive('top.vmdk', { format: 'vmdk' })]);
    for (const [at, length, byte] of [
      [0, 65536, 1],
      [65536, 131072, 0],
      [196608, 65536, 1],
    ] as const)
      await qemu.io('drive0', `read -P ${byte} ${at} ${length}`);
    await qemu.stop();
  });

  it('can have 40 of them, of any size, beginning anywhere', async () => {
    const sectors = (index: number): number => 1 + ((index * 7) % 40);
    const skipped = (index: number): number => index % 3;
    const lines = [...Array(40).keys()].map((index) => {
      const bytes = Buffer.alloc(512 * (skipped(index) + sectors(index)), index + 1).fill(
        0xff,
        0,
        512 * skipped(index),
      );
      writeFileSync(inRoot(`part-${index}`), bytes);
      return `RW ${sectors(index)} FLAT "part-${index}" ${skipped(index)}`;
    });
    const descriptor = (all: readonly string[]): string =>
      `# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n${all.join('\n')}\n`;
    writeFileSync(inRoot('many.vmdk'), descriptor(lines));
    let at = 0;
    const expected = lines.map((_line, index) => {
      const row = [at, 512 * sectors(index), index + 1] as const;
      at += row[1];
      return row;
    });
    await read('many.vmdk', expected);
    // In all drives of a machine.
    writeFileSync(inRoot('two.vmdk'), descriptor(lines.slice(0, 2)));
    const both = ['many.vmdk', 'two.vmdk'].map((name) => fileDrive(name, { format: 'vmdk' }));
    expect((await errorOf(prepareDrives(both, context))).message).toContain('can have 40 VMDK extents in all');
    writeFileSync(inRoot('many.vmdk'), descriptor([...lines, lines[0] as string]));
    expect((await errorOf(prepareDrives([fileDrive('many.vmdk', { format: 'vmdk' })], context))).message).toContain(
      'has more than 40 extents',
    );
  });
});
