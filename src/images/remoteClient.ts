/** What connects to the server of a remote drive and provides its bytes: one program or another, by the protocol. */
import { GuestfsError } from '../common/errors.js';
import type { StartedProcess } from '../common/subprocess.js';
import type { JailUser } from '../jail/jailArguments.js';
import { findProgram, type Program } from '../jail/programFiles.js';
import type { ListeningSocket } from './exportSocket.js';
import type { RemoteResources } from './remoteResources.js';
import type { RemoteSource } from './remoteSource.js';

/** How the program is started. */
export interface ClientCommand {
  readonly program: Program;
  readonly args: readonly string[];
  /** How many channels it inherits, from descriptor 3 on; the socket that it listens on comes after them. */
  readonly channels: number;
}

/** A program that was started. */
export interface RunningClient {
  readonly process: StartedProcess;
  readonly resources: RemoteResources;
  readonly listening: ListeningSocket;
  /** The last line that it has written so far. */
  readonly said: () => string;
  /** The user that it runs as. */
  readonly user: JailUser | undefined;
  readonly writable: boolean;
  /** The machine's qemu. */
  readonly qemuBinary: string;
}

/** A kind of program. */
export interface RemoteClient {
  /** @throws GuestfsError `ENOTSUP` if it is not installed */
  startWith(source: RemoteSource, resources: RemoteResources): Promise<ClientCommand>;
  /**
   * Waits until the drive is open.
   * @returns its size in bytes, in whole sectors; undefined if it is unknown
   * @throws Error why it cannot be opened
   */
  open(source: RemoteSource, running: RunningClient, signal: AbortSignal): Promise<bigint | undefined>;
}

/**
 * Finds a program.
 * @throws GuestfsError `ENOTSUP` naming the package that has it
 */
export async function clientProgram(name: string, packageName: string): Promise<Program> {
  try {
    return await findProgram(name, 'tool');
  } catch (error) {
    throw new GuestfsError(
      'ENOTSUP',
      `these network drives need ${name}, which is not installed; on Debian and Ubuntu, the package ${packageName} has it`,
      { cause: error },
    );
  }
}
