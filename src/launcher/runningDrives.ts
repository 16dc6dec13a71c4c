/** Hot-plugs and unplugs drives of a machine whose daemon is up. */
import { GuestfsError, messageOf } from '../common/errors.js';
import { withTimeLimit, withTimeout } from '../common/waiting.js';
import type { DiskQuota } from '../images/diskQuota.js';
import type { Drive } from '../images/drive.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { ImageClaims } from '../images/imageUses.js';
import { prepareDrives, type PreparedDrive } from '../images/prepareDrives.js';
import type { DaemonConnection } from '../protocol/daemonConnection.js';
import { driveProperties } from '../qemu/applianceMachine.js';
import { LateFdSets, type FdSender } from '../qemu/fdSender.js';
import { QmpError, type QmpClient } from '../qemu/qmpClient.js';
import { attachDrives, socketOf, unplug } from './attachDrives.js';
import { attachScript, detachScript, diskName, IN_USE, type Disk } from './appliance/applianceScripts.js';
import { runInAppliance } from './appliance/applianceShell.js';
import type { ChangedImage, DriveFault, FailedWrites, MachineDrives } from './launcher.js';

/** What is needed to attach drives. */
export interface RunningDrivesParts {
  readonly monitor: QmpClient;
  /** Passes their files to qemu. */
  readonly files: FdSender;
  /** Path. */
  readonly runDirectory: string;
  /** The claims of the machine's drives. */
  readonly claims: ImageClaims;
  /** The machine's qemu. */
  readonly qemuBinary: string;
  readonly probe: ForeignImageProbe;
  /** As of the launch. */
  readonly disk: DiskQuota | undefined;
}

/** How long qemu may take to open or release a drive, milliseconds. */
const QEMU_LIMIT_MS = 60_000;
/** How long the file systems of images may take, milliseconds. */
const FILES_LIMIT_MS = 60_000;
const FD_SET = /^\/dev\/fdset\/(\d+)$/;
/** The kernel's names for disks. */
const DISK_NAME = /^sd[a-z]{1,3}$/;

/** ENOSPC and EDQUOT in the C library's words; qemu runs in the C locale. */
const NO_SPACE = new Set(['No space left on device', 'Disk quota exceeded']);

/** The part of `query-blockstats` that is used, for one device or node (qemu's qapi/block-core.json). */
interface DeviceStatistics {
  readonly qdev?: string;
  readonly 'node-name'?: string;
  readonly stats?: {
    readonly failed_wr_operations?: number;
    readonly failed_flush_operations?: number;
    readonly wr_highest_offset?: number;
  };
}

export class RunningDrives implements MachineDrives {
  readonly #drives = new Map<number, PreparedDrive>();
  /** Detached disks, with their former names. */
  readonly #free: Disk[] = [];
  /** Number of drives ever attached: node names are never reused. */
  #count: number;
  #filesGiven: number;
  /** Top nodes of drives of which a write has failed for want of space. */
  readonly #full = new Set<string>();

  /** @param start the drives of the launch, and how many files qemu was given after it was started */
  constructor(
    private readonly parts: RunningDrivesParts,
    start: { readonly launched: readonly PreparedDrive[]; readonly filesGiven: number },
  ) {
    start.launched.forEach((drive, index) => this.#drives.set(index, drive));
    this.#count = start.launched.length;
    this.#filesGiven = start.filesGiven;
    // The statistics do not say why.
    parts.monitor.onEvent(({ event, data }) => {
      // qemu leaves `nospace` out when errors are only reported (blk_iostatus_is_enabled in block/block-backend.c).
      const noSpace = data['nospace'] === true || NO_SPACE.has(String(data['reason']));
      if (event === 'BLOCK_IO_ERROR' && noSpace) this.#full.add(String(data['node-name']));
    });
  }

  async add(connection: DaemonConnection, drive: Drive, signal: AbortSignal): Promise<number> {
    const disk = this.#nextDisk();
    const { probe, runDirectory, qemuBinary, claims, files, monitor, disk: quota } = this.parts;
    const fdSets = new LateFdSets(this.#filesGiven);
    const prepared = await prepareDrives([drive], {
      runDirectory,
      qemuBinary,
      fdSets,
      claims,
      probe,
      disk: quota,
      signal,
      firstIndex: this.#count,
    });
    try {
      this.#count += 1;
      this.#filesGiven += fdSets.size;
      const [attached] = prepared.drives as [PreparedDrive];
      try {
        await withinLimit(async (limit) => {
          await fdSets.send(files, limit);
          await attachDrives(monitor, { prepared, firstIndex: disk.index, startedWith: 'nothing', files }, limit);
        });
        await runInAppliance(connection, attachScript(disk));
      } catch (error) {
        await this.#detach(attached, disk.index, 'partly attached');
        throw explained(error, 'the drive cannot be attached');
      }
      this.#drives.set(disk.index, attached);
      const freed = this.#free.indexOf(disk);
      if (freed !== -1) this.#free.splice(freed, 1);
      return disk.index;
    } finally {
      await prepared.dispose();
    }
  }

  async remove(connection: DaemonConnection, index: number): Promise<DriveFault | undefined> {
    const drive = this.#drives.get(index);
    if (drive === undefined) throw new Error(`no drive ${index}`);
    const name = await runInAppliance(connection, detachScript(index)).catch((error: unknown) => {
      const use = messageOf(error).indexOf(IN_USE);
      if (use === -1) throw error;
      throw new GuestfsError(
        'EBUSY',
        `${messageOf(error).slice(use).trim()}: unmount it, and close what is open on it, first`,
        { cause: error },
      );
    });
    let fault: DriveFault | undefined;
    try {
      // qemu keeps these counts only while it has the device.
      fault = (await this.failedWrites()).get(index) ?? (await this.changedImages()).get(index);
      await this.#detach(drive, index, 'attached');
    } catch (error) {
      throw explained(error, 'qemu cannot detach the drive');
    }
    this.#drives.delete(index);
    const reported = name.trim();
    this.#free.push({ index, name: DISK_NAME.test(reported) ? reported : diskName(index) });
    return fault;
  }

  async failedWrites(): Promise<ReadonlyMap<number, FailedWrites>> {
    const statistics = await this.#statistics({});
    const failed = new Map<number, FailedWrites>();
    for (const [index, drive] of this.#drives) {
      // Found by device, or else by node; which of these qemu reports depends on its version.
      const device = String(driveProperties(drive, index)['id']);
      const stats = statistics.find(
        (one) => one.qdev?.split('/').at(-1) === device || one['node-name'] === drive.topNode,
      )?.stats;
      const count = (stats?.failed_wr_operations ?? 0) + (stats?.failed_flush_operations ?? 0);
      if (count > 0) failed.set(index, { count, noSpace: this.#full.has(drive.topNode) });
    }
    return failed;
  }

  async changedImages(): Promise<ReadonlyMap<number, ChangedImage>> {
    const ends = await this.#endsOfWrites();
    const late = (): GuestfsError =>
      new GuestfsError(
        'EIO',
        `the images could not be examined on the server's host within ${FILES_LIMIT_MS / 1000} s`,
      );
    return withTimeout(FILES_LIMIT_MS, late, this.#examineFiles(ends));
  }

  async #examineFiles(ends: ReadonlyMap<string, bigint>): Promise<ReadonlyMap<number, ChangedImage>> {
    const changed = new Map<number, ChangedImage>();
    for (const [index, { files }] of this.#drives) {
      for (const file of files) {
        const change = await file.change(ends.get(file.growsBy ?? '') ?? 0n);
        if (change !== undefined && !changed.has(index)) changed.set(index, { change, subject: file.subject });
      }
    }
    return changed;
  }

  /** How far qemu has written to each file that becomes longer, by its node. */
  async #endsOfWrites(): Promise<ReadonlyMap<string, bigint>> {
    if (![...this.#drives.values()].some(({ files }) => files.some(({ growsBy }) => growsBy !== undefined)))
      return new Map();
    const nodes = await this.#statistics({ 'query-nodes': true });
    return new Map(nodes.map((node) => [node['node-name'] ?? '', BigInt(node.stats?.wr_highest_offset ?? 0)]));
  }

  async #statistics(args: Readonly<Record<string, unknown>>): Promise<readonly DeviceStatistics[]> {
    return (await withinLimit((limit) =>
      this.parts.monitor.execute('query-blockstats', args, limit),
    )) as readonly DeviceStatistics[];
  }

  /**
   * Linux assigns the lowest free name. After a boot, which discovers disks in any order, this may not be the name for
   * the lowest number; and the daemon, which translates names in that case, keeps its translation.
   */
  #nextDisk(): Disk {
    const [lowest] = this.#free.sort(
      (one, other) => one.name.length - other.name.length || (one.name < other.name ? -1 : 1),
    );
    if (lowest !== undefined) return lowest;
    const index = this.#drives.size;
    return { index, name: diskName(index) };
  }

  /** Removes the device, its block nodes, and their fd sets. */
  #detach(drive: PreparedDrive, index: number, state: 'attached' | 'partly attached'): Promise<void> {
    return withinLimit((signal) => this.#removeAll(drive, index, state, signal));
  }

  async #removeAll(
    drive: PreparedDrive,
    index: number,
    state: 'attached' | 'partly attached',
    signal: AbortSignal,
  ): Promise<void> {
    const { monitor } = this.parts;
    const step = async (work: Promise<unknown>): Promise<void> => {
      await work.catch((error: unknown) => {
        // Removing something that was never added fails, as does every command once qemu has exited.
        if (state === 'attached') throw error;
      });
    };
    await step(unplug(monitor, String(driveProperties(drive, index)['id']), signal));
    for (const node of [...drive.blockNodes].reverse())
      await step(monitor.execute('blockdev-del', { 'node-name': node['node-name'] }, signal));
    // Once a node has it, it is the node's.
    const socket = socketOf(drive);
    if (state === 'partly attached' && socket !== undefined)
      await step(this.parts.files.execute('closefd', { fdname: socket }, signal));
    for (const { filename } of drive.blockNodes) {
      const set = typeof filename === 'string' ? FD_SET.exec(filename)?.[1] : undefined;
      if (set !== undefined) await step(monitor.execute('remove-fd', { 'fdset-id': Number(set) }, signal));
    }
    await this.parts.claims.release(drive.topNode);
  }
}

/** Runs work that depends on answers from qemu, under a time limit. */
function withinLimit<Value>(work: (limit: AbortSignal) => Promise<Value>): Promise<Value> {
  const silent = (): Error => new Error(`qemu did not answer within ${QEMU_LIMIT_MS / 1000} s`);
  return withTimeLimit(QEMU_LIMIT_MS, silent, [], work);
}

function explained(error: unknown, what: string): unknown {
  if (error instanceof GuestfsError && error.reason !== 'DAEMON_ERROR') return error;
  return new GuestfsError(
    'QEMU_FAILED',
    `${what}: ${error instanceof QmpError ? error.description : messageOf(error)}`,
    { cause: error },
  );
}
