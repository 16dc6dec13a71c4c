/** This service: a server in a process of its own, and a client over loopback. */
import { ApplianceServiceService } from '../../gen/proto/guestfs/v1/appliance.js';
import { FileServiceService } from '../../gen/proto/guestfs/v1/file.js';
import { FilesystemServiceService } from '../../gen/proto/guestfs/v1/filesystem.js';
import { MountServiceService } from '../../gen/proto/guestfs/v1/mount.js';
import { SessionServiceService, type DriveSpec } from '../../gen/proto/guestfs/v1/session.js';
import { download, upload } from '../../demo/client/fileTransfer.js';
import { GuestfsClient } from '../../demo/client/guestfsClient.js';
import type { StreamMethod } from '../../demo/client/methods.js';
import { LocalServer } from '../../demo/server/localServer.js';
import { timed } from '../timed.js';
import type { BenchDrive, Listing, Machine, Subject } from './subject.js';

const FIRST_DRIVE = '/dev/sda';

export interface ServiceOptions {
  /** Where images may be. */
  readonly imageRoot: string;
  readonly temporary: string;
  readonly appliance: string;
  readonly logFile: string;
  /** More flags; by default sessions are launched from a template, as a server does. */
  readonly flags: readonly string[];
  readonly signal: AbortSignal;
}

function driveSpec(drive: BenchDrive): DriveSpec {
  if ('path' in drive) return { source: { $case: 'path', value: drive.path }, format: drive.format, writable: false };
  return { source: { $case: 'scratch_size', value: drive.scratchSize }, writable: true };
}

export class Service implements Subject {
  readonly id = 'service';

  private constructor(
    readonly server: LocalServer,
    readonly client: GuestfsClient,
  ) {}

  static async start({ imageRoot, temporary, appliance, logFile, flags, signal }: ServiceOptions): Promise<Service> {
    const server = await LocalServer.start({
      imageRoots: [imageRoot],
      logFile,
      flags: ['--appliance', appliance, '--accel', 'tcg', ...flags],
      env: { LIBGUESTFS_TMPDIR: temporary },
    });
    return new Service(server, GuestfsClient.connect(server.address, signal));
  }

  launch(drives: readonly BenchDrive[]): Promise<ServiceMachine> {
    return this.#launch(drives.map(driveSpec));
  }

  /** With a raw image to fill. */
  launchToWrite(path: string): Promise<ServiceMachine> {
    return this.#launch([{ source: { $case: 'path', value: path }, format: 'raw', writable: true }]);
  }

  async #launch(drives: DriveSpec[]): Promise<ServiceMachine> {
    const [launchSeconds, { id }] = await timed(() =>
      this.client.call(SessionServiceService.createSession, {
        drives,
        launch: true,
        settings: undefined,
        idle_timeout: undefined,
        labels: new Map(),
      }),
    );
    return new ServiceMachine(launchSeconds, id, this.client, this.client.inSession(id));
  }

  async close(): Promise<void> {
    this.client.close();
    await this.server.stop();
  }
}

/** A session. */
export class ServiceMachine implements Machine {
  constructor(
    readonly launchSeconds: number,
    readonly id: string,
    readonly root: GuestfsClient,
    readonly session: GuestfsClient,
  ) {}

  async format(): Promise<void> {
    await this.session.call(FilesystemServiceService.mkfs, { fstype: 'ext4', device: FIRST_DRIVE });
    await this.session.call(MountServiceService.mount, { mountable: FIRST_DRIVE, mountpoint: '/' });
  }

  async mountReadOnly(): Promise<void> {
    await this.session.call(MountServiceService.mountRo, { mountable: FIRST_DRIVE, mountpoint: '/' });
  }

  async upload(local: string, remote: string, size: bigint): Promise<number> {
    const [seconds] = await timed(() => upload(this.session, local, remote, size));
    return seconds;
  }

  async download(remote: string, local: string): Promise<number> {
    const [seconds] = await timed(() => download(this.session, remote, local));
    return seconds;
  }

  async checksum(remote: string): Promise<string> {
    return (await this.session.call(FileServiceService.checksum, { csumtype: 'sha256', path: remote })).checksum;
  }

  echo(count: number): Promise<readonly number[]> {
    return this.#repeat(count, () => this.session.call(ApplianceServiceService.echoDaemon, { words: ['hello'] }));
  }

  /** The smallest call that the server answers by itself. */
  version(count: number): Promise<readonly number[]> {
    return this.#repeat(count, () => this.session.call(ApplianceServiceService.version, {}));
  }

  find(directory: string): Promise<Listing> {
    return this.#list(FileServiceService.find, { directory }, ({ names }) => names.length);
  }

  /** What find is made from, as the daemon sends it. */
  find0(directory: string): Promise<Listing> {
    return this.#list(FileServiceService.find0, { directory }, ({ chunk }) =>
      chunk.reduce((count, byte) => (byte === 0 ? count + 1 : count), 0),
    );
  }

  readdir(dir: string): Promise<Listing> {
    return this.#list(FileServiceService.readdir, { dir }, ({ entries }) => entries.length);
  }

  async close(): Promise<void> {
    await this.root.call(SessionServiceService.deleteSession, { id: this.id });
  }

  async #repeat(count: number, call: () => Promise<unknown>): Promise<readonly number[]> {
    const samples: number[] = [];
    for (let index = 0; index < count; index += 1) samples.push((await timed(call))[0]);
    return samples;
  }

  async #list<Request, Response>(
    method: StreamMethod<Request, Response>,
    request: Request,
    count: (response: Response) => number,
  ): Promise<Listing> {
    const startedAt = performance.now();
    const elapsed = (): number => (performance.now() - startedAt) / 1000;
    let names = 0;
    let firstSeconds: number | undefined;
    for await (const response of this.session.stream(method, request)) {
      firstSeconds ??= elapsed();
      names += count(response);
    }
    return { seconds: elapsed(), names, ...(firstSeconds === undefined ? {} : { firstSeconds }) };
  }
}
