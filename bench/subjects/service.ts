/** This service: a server in a separate process, and a client over loopback. */
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import {
  connect,
  type Drive,
  type Guest,
  type GuestfsClient,
  type ServerStreamMethod,
} from '../../clients/typescript/src/index.js';
import { FileServiceService } from '../../gen/proto/guestfs/v1/file.js';
import { LocalServer } from '../../demo/server/localServer.js';
import { timed } from '../timed.js';
import type { BenchDrive, Listing, Machine, Subject, SubjectId } from './subject.js';

const FIRST_DRIVE = '/dev/sda';
/** Large enough that a chunk's own cost does not count. */
const CHUNK = 256 * 1024;

/** This version of the service, or that of another checkout. */
export const SERVICES = ['service', 'other'] as const;
export type ServiceId = (typeof SERVICES)[number];

export function isService(id: SubjectId): id is ServiceId {
  return (SERVICES as readonly SubjectId[]).includes(id);
}

export interface ServiceOptions {
  readonly id: ServiceId;
  /** Path of the program to start; undefined: this version. */
  readonly program: string | undefined;
  /** Where images may be. */
  readonly imageRoot: string;
  readonly temporary: string;
  readonly appliance: string;
  readonly logFile: string;
  /** Additional flags; by default sessions are launched from a template, as on any server. */
  readonly flags: readonly string[];
  readonly signal: AbortSignal;
}

function driveOf(drive: BenchDrive): Drive {
  return 'path' in drive ? drive : { scratchSize: drive.scratchSize, writable: true };
}

export class Service implements Subject {
  private constructor(
    readonly id: ServiceId,
    readonly server: LocalServer,
    readonly client: GuestfsClient,
  ) {}

  static async start({ id, program, imageRoot, temporary, ...options }: ServiceOptions): Promise<Service> {
    const { appliance, logFile, flags, signal } = options;
    const server = await LocalServer.start({
      program,
      imageRoots: [imageRoot],
      logFile,
      flags: ['--appliance', appliance, '--accel', 'tcg', ...flags],
      env: { LIBGUESTFS_TMPDIR: temporary },
    });
    return new Service(id, server, connect(server.address, { signal }));
  }

  launch(drives: readonly BenchDrive[]): Promise<ServiceMachine> {
    return this.#launch(drives.map(driveOf));
  }

  /** With a raw image to fill. */
  launchToWrite(path: string): Promise<ServiceMachine> {
    return this.#launch([{ path, format: 'raw', writable: true }]);
  }

  async #launch(drives: readonly Drive[]): Promise<ServiceMachine> {
    const [launchSeconds, guest] = await timed(() => this.client.session({ drives, launch: true }));
    return new ServiceMachine(launchSeconds, guest);
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
    readonly guest: Guest,
  ) {}

  async format(): Promise<void> {
    await this.guest.mkfs('ext4', FIRST_DRIVE);
    await this.guest.mount(FIRST_DRIVE, '/');
  }

  async mountReadOnly(): Promise<void> {
    await this.guest.mountRo(FIRST_DRIVE, '/');
  }

  async upload(local: string, remote: string, size: bigint): Promise<number> {
    const [seconds] = await timed(() =>
      this.guest.upload(createReadStream(local, { highWaterMark: CHUNK }), remote, { progressHint: size }),
    );
    return seconds;
  }

  async download(remote: string, local: string): Promise<number> {
    const [seconds] = await timed(() => writeFile(local, this.guest.download(remote)));
    return seconds;
  }

  checksum(remote: string): Promise<string> {
    return this.guest.checksum('sha256', remote);
  }

  echo(count: number): Promise<readonly number[]> {
    return this.#repeat(count, () => this.guest.echoDaemon(['hello']));
  }

  /** The smallest call that the server answers without the daemon. */
  version(count: number): Promise<readonly number[]> {
    return this.#repeat(count, () => this.guest.version());
  }

  find(directory: string): Promise<Listing> {
    return this.#list(FileServiceService.find, { directory }, ({ names }) => names.length);
  }

  /** The daemon's output on which find is built. */
  find0(directory: string): Promise<Listing> {
    return this.#list(FileServiceService.find0, { directory }, ({ chunk }) =>
      chunk.reduce((count, byte) => (byte === 0 ? count + 1 : count), 0),
    );
  }

  readdir(dir: string): Promise<Listing> {
    return this.#list(FileServiceService.readdir, { dir }, ({ entries }) => entries.length);
  }

  async close(): Promise<void> {
    await this.guest.end();
  }

  async #repeat(count: number, call: () => Promise<unknown>): Promise<readonly number[]> {
    const samples: number[] = [];
    for (let index = 0; index < count; index += 1) samples.push((await timed(call))[0]);
    return samples;
  }

  async #list<Request, Response>(
    method: ServerStreamMethod<Request, Response>,
    request: Request,
    count: (response: Response) => number,
  ): Promise<Listing> {
    const startedAt = performance.now();
    const elapsed = (): number => (performance.now() - startedAt) / 1000;
    let names = 0;
    let firstSeconds: number | undefined;
    for await (const response of this.guest.session.stream(method, request)) {
      firstSeconds ??= elapsed();
      names += count(response);
    }
    return { seconds: elapsed(), names, ...(firstSeconds === undefined ? {} : { firstSeconds }) };
  }
}
