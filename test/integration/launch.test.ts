/** Machines as the launcher starts them: what they are, how they end, and why they fail. */
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { blockdevGetsize64, blockdevGetss, listDevices, listDiskLabels } from '../../gen/calls/device.js';
import type { GuestfsError } from '../../src/common/errors.js';
import { silentLogger } from '../../src/common/logger.js';
import { startProcess } from '../../src/common/subprocess.js';
import { sweepRunDirectories } from '../../src/common/tempDir.js';
import type { Drive } from '../../src/images/drive.js';
import { DaemonConnection } from '../../src/protocol/daemonConnection.js';
import type { DaemonCall } from '../../src/protocol/daemonCall.js';
import { DaemonVersion } from '../../src/protocol/daemonVersion.js';
import { createColdLauncher } from '../../src/launcher/coldLauncher.js';
import { createPreflight } from '../../src/launcher/preflight.js';
import type { LaunchConfig, Machine } from '../../src/launcher/launcher.js';
import { createQemuUsers, HOST_RANGE } from '../../src/qemu/qemuUsers.js';
import { builtAppliance, describeWhen, describeWithAppliance } from '../support/appliance.js';
import { keepChecks } from '../support/applianceChecks.js';
import { ended, processesThatMention } from '../support/processes.js';

const SUPERMIN = '/usr/lib/x86_64-linux-gnu/guestfs';
const LAUNCH_FLAG = Buffer.from('f5f55ff5', 'hex');
const isRoot = process.geteuid?.() === 0;
const users = createQemuUsers();

let scene: string;
let config: LaunchConfig;

beforeAll(async () => {
  scene = await mkdtemp(join(tmpdir(), 'launch-'));
  await mkdir(join(scene, 'images'));
  config = {
    drives: [],
    memsizeMb: 1280,
    smp: 1,
    network: false,
    selinux: false,
    verbose: false,
    accelerator: 'tcg',
    qemuBinary: undefined,
    appliancePath: builtAppliance('trixie') ?? '',
    append: undefined,
    session: 'launch-test',
    identifier: '',
    extraQemuArguments: [],
    temporaryDirectory: join(scene, 'run'),
    cacheDirectory: join(scene, 'cache'),
  };
  keepChecks(join(scene, 'cache'));
});
afterAll(() => rm(scene, { recursive: true }));

const scratch = (size: bigint, changes: Partial<Drive> = {}): Drive => ({
  source: { kind: 'scratch', size },
  format: undefined,
  readonly: false,
  label: undefined,
  cacheMode: 'writeback',
  discard: 'disable',
  copyOnRead: false,
  blockSize: undefined,
  ...changes,
});

interface Launched {
  readonly machine: Machine;
  /** The complete output of the console. */
  console(): string;
  /** The daemon's first bytes, or how the machine ended without. */
  daemon(): Promise<Buffer | GuestfsError>;
}

async function launch(changes: Partial<LaunchConfig> = {}, signal = new AbortController().signal): Promise<Launched> {
  const preflight = createPreflight({ logger: silentLogger, users, anySkeleton: true });
  const launcher = createColdLauncher({
    logger: silentLogger,
    users,
    preflight,
  });
  let console = '';
  const machine = await launcher.launch(
    { ...config, ...changes },
    { signal, onConsole: (bytes) => (console += bytes.toString('latin1')) },
  );
  const first = new Promise<Buffer>((resolve) =>
    machine.channel.once('data', (bytes: Buffer) => resolve(bytes.subarray(0, 4))).resume(),
  );
  return {
    machine,
    console: () => console,
    daemon: () => Promise.race([first, machine.exited.then((exit) => machine.explainFailure(console, exit))]),
  };
}

/** What failing to launch throws. */
const failure = (changes: Partial<LaunchConfig>): Promise<GuestfsError> =>
  launch(changes).then(
    async ({ machine }) => {
      await machine.stop(0);
      throw new Error('the launch did not fail');
    },
    (error: unknown) => error as GuestfsError,
  );

const runDirectories = (): Promise<string[]> => readdir(config.temporaryDirectory).catch(() => []);

/** A field of a process as the kernel shows it. */
const statusOf = async (pid: number, field: string): Promise<string> =>
  new RegExp(`^${field}:[ \\t]*(.*?)[ \\t]*$`, 'm').exec(await readFile(`/proc/${pid}/status`, 'latin1'))?.[1] ?? '';

describeWithAppliance('a machine', () => {
  it('boots, with its drives in order, under their labels', async () => {
    const { machine } = await launch({
      drives: [scratch(16n << 20n), scratch(32n << 20n, { label: 'middle' }), scratch(64n << 20n, { blockSize: 4096 })],
    });
    const connection = new DaemonConnection(machine.channel, { onProgress: () => undefined });
    const ask = <Request, Response>(call: DaemonCall<Request, Response>, request: Request): Promise<Response> =>
      connection.call(call, request, new DaemonVersion('1.54.0'));
    try {
      await connection.awaitLaunch();
      const { devices } = await ask(listDevices, {});
      expect(devices).toEqual(['/dev/sda', '/dev/sdb', '/dev/sdc']);
      const sizes: bigint[] = [];
      for (const device of devices) sizes.push((await ask(blockdevGetsize64, { device })).sizeinbytes >> 20n);
      expect(sizes).toEqual([16n, 32n, 64n]);
      expect([...(await ask(listDiskLabels, {})).labels]).toEqual([['middle', '/dev/sdb']]);
      expect((await ask(blockdevGetss, { device: '/dev/sdc' })).sectorsize).toBe(4096);
      expect(machine).toMatchObject({ accelerator: 'tcg', launchKind: 'cold' });
    } finally {
      connection.close();
      await machine.stop();
    }
  });

  it('has no privileges, and leaves nothing behind', async () => {
    const { machine } = await launch({ drives: [scratch(1n << 20n)] });
    const exits = machine.exited;
    try {
      const [uid, groups, privileges, filter] = await Promise.all(
        ['Uid', 'Groups', 'NoNewPrivs', 'Seccomp'].map((field) => statusOf(machine.pid, field)),
      );
      expect([privileges, filter]).toEqual(['1', '2']);
      if (isRoot) {
        expect(Number(uid?.split('\t')[1])).toBeGreaterThanOrEqual(HOST_RANGE.first);
        expect(groups).toBe('');
        expect(await statusOf(machine.pid, 'CapEff')).toMatch(/^0+$/);
      }
      const [directory] = await runDirectories();
      const inside = await stat(join(config.temporaryDirectory, directory ?? '', 'private'));
      expect([inside.uid, inside.mode & 0o777]).toEqual([Number(uid?.split('\t')[0]), 0o700]);
      expect(await readdir(join(config.temporaryDirectory, directory ?? '', 'private'))).toEqual([]);
      const variables = (await readFile(`/proc/${machine.pid}/environ`, 'latin1'))
        .split('\0')
        .map((variable) => variable.split('=')[0]);
      expect(variables.sort()).toEqual(['', 'HOME', 'LC_ALL', 'PATH', 'PWD', 'TMPDIR']);
    } finally {
      await machine.stop();
      await machine.stop();
    }
    expect(await exits).toMatchObject({ exitCode: 0 });
    expect(processesThatMention(scene)).toEqual([]);
    expect(await runDirectories()).toEqual([]);
  });

  it('cleans up if it ends unexpectedly', async () => {
    const { machine } = await launch();
    process.kill(machine.pid, 'SIGKILL');
    expect(await machine.exited).toMatchObject({ signal: 'SIGKILL' });
    await machine.stop();
    expect(await runDirectories()).toEqual([]);
  });

  it('dies with a server that is killed, and the next server removes what is left', async () => {
    const script = new URL('../support/launchAndWait.js', import.meta.url).pathname;
    const server = await startProcess(process.execPath, [script, JSON.stringify(config)], {
      channels: 0,
      fds: [],
      env: {},
      cwd: '/',
    });
    const qemu = Number(
      await new Promise((resolve) =>
        server.outputs[0]?.once('data', (bytes: Buffer) => resolve(bytes.toString())).resume(),
      ),
    );
    expect(existsSync(`/proc/${qemu}`)).toBe(true);
    server.kill('SIGKILL');
    await server.exited;
    await ended(qemu);
    expect(await runDirectories()).toHaveLength(1);
    expect(await sweepRunDirectories(config.temporaryDirectory, silentLogger)).toBe(1);
    expect(await runDirectories()).toEqual([]);
  });

  it('is not there when its launch is aborted', async () => {
    for (const ms of [0, 20, 60, 150]) {
      const controller = new AbortController();
      const launching = launch({}, controller.signal);
      setTimeout(() => controller.abort(new Error('changed my mind')), ms);
      await launching.then(
        ({ machine }) => machine.stop(0),
        (error: unknown) => expect(error).toMatchObject({ message: 'changed my mind' }),
      );
    }
    expect(processesThatMention(scene)).toEqual([]);
    expect(await runDirectories()).toEqual([]);
  });
});

describeWithAppliance('a launch that fails', () => {
  it('shows the end of the console when the kernel panics', async () => {
    const { machine, daemon } = await launch({ append: 'rdinit=/no/such init=/no/such root=/dev/none' });
    try {
      const error = (await daemon()) as GuestfsError;
      expect(error.reason).toBe('KERNEL_PANIC');
      expect(error.message).toMatch(/Kernel panic - not syncing/);
      expect(Buffer.byteLength(error.message)).toBeLessThan(3072);
    } finally {
      await machine.stop(0);
    }
  });

  it('reports that the memory is too small', async () => {
    const { machine, daemon } = await launch({ memsizeMb: 64 });
    try {
      expect(await daemon()).toMatchObject({ reason: 'OUT_OF_MEMORY', message: expect.stringContaining('64 MiB') });
    } finally {
      await machine.stop(0);
    }
  });

  it('reports that an image is in use', async () => {
    const path = join(scene, 'images', 'disk.img');
    await writeFile(path, Buffer.alloc(1 << 20));
    const source = { kind: 'file' as const, path, name: path, roots: { directories: [join(scene, 'images')] } };
    const drives = [{ ...scratch(0n), source, format: 'raw' }];
    const { machine } = await launch({ drives });
    try {
      expect(await failure({ drives })).toMatchObject({
        reason: 'IMAGE_LOCKED',
        message: expect.stringContaining('disk.img'),
      });
    } finally {
      await machine.stop();
    }
    // Free again as soon as the machine is stopped.
    const again = await launch({ drives });
    await again.machine.stop();
    expect(await runDirectories()).toEqual([]);
  });

  it("passes on qemu's own words", async () => {
    expect(await failure({ extraQemuArguments: [['-device', 'no-such-device']] })).toMatchObject({
      reason: 'QEMU_FAILED',
      message: expect.stringContaining("'no-such-device' is not a valid device model name"),
    });
    expect(await failure({ memsizeMb: 1 << 30 })).toMatchObject({ reason: 'OUT_OF_MEMORY' });
  });

  it('names what is missing', async () => {
    expect(await failure({ qemuBinary: '/no/such/qemu' })).toMatchObject({ reason: 'QEMU_MISSING' });
    expect(await failure({ appliancePath: `${scene}/a:${scene}/b` })).toMatchObject({
      reason: 'APPLIANCE_MISSING',
      message: expect.stringMatching(/\/a \(.*\/b \(/),
    });
    const broken = join(scene, 'broken');
    await cp(config.appliancePath, broken, {
      recursive: true,
      filter: (path) => !/\/(root|manifest\.json)$/.test(path),
    });
    await writeFile(join(broken, 'root'), 'nothing of use');
    expect(await failure({ appliancePath: broken })).toMatchObject({
      reason: 'APPLIANCE_UNUSABLE',
      message: expect.stringContaining('no ext2'),
    });
    expect(await runDirectories()).toEqual([]);
  });
});

describeWithAppliance('the accelerator', () => {
  it('is what works here, found out once', async () => {
    const started = performance.now();
    const first = await launch({ accelerator: 'auto' });
    const firstMs = performance.now() - started;
    await first.machine.stop(0);
    const second = await launch({ accelerator: 'auto' });
    await second.machine.stop(0);
    expect(second.machine.accelerator).toBe(first.machine.accelerator);
    expect(firstMs - second.machine.timings.prepareMs).toBeLessThan(8000);
    expect(second.machine.timings.prepareMs).toBeLessThan(1000);
    if (first.machine.accelerator === 'tcg') {
      expect(await failure({ accelerator: 'kvm' })).toMatchObject({
        reason: 'KVM_UNUSABLE',
        message: expect.stringMatching(/KVM is unusable on this server: ./),
      });
    }
  });
});

const noSupermin = existsSync(join(SUPERMIN, 'supermin.d'))
  ? undefined
  : `there is no supermin appliance in ${SUPERMIN}`;
describeWhen('a supermin appliance', noSupermin, () => {
  it('is built when needed, and boots', async () => {
    const first = await launch({ appliancePath: SUPERMIN });
    try {
      expect(await first.daemon()).toEqual(LAUNCH_FLAG);
    } finally {
      await first.machine.stop();
    }
    const second = await launch({ appliancePath: SUPERMIN });
    await second.machine.stop(0);
    expect(second.machine.timings.prepareMs).toBeLessThan(first.machine.timings.prepareMs);
  });
});
