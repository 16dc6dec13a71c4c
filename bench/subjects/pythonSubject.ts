/** Appliances that a Python process uses, over libguestfs's own binding or over this project's client. */
import { PythonDriver } from './pythonDriver.js';
import type { BenchDrive, Listing, Machine, Subject, SubjectId } from './subject.js';

const FIRST_DRIVE = '/dev/sda';

interface CallAnswer {
  readonly seconds: number;
  readonly value: string | null;
  readonly length: number | null;
}

/** A Python process; its environment decides what `import guestfs` finds. */
export class PythonSubject implements Subject {
  readonly id: SubjectId;
  readonly #driver: PythonDriver;

  constructor(id: SubjectId, env: NodeJS.ProcessEnv, signal: AbortSignal) {
    this.id = id;
    this.#driver = new PythonDriver(env, signal);
  }

  /** Version of the library. */
  async version(): Promise<string> {
    return (await this.#driver.ask<{ readonly version: string }>({ op: 'version' })).version;
  }

  async launch(drives: readonly BenchDrive[]): Promise<Machine> {
    const { seconds, handle } = await this.#driver.ask<{ readonly seconds: number; readonly handle: number }>({
      op: 'launch',
      drives,
    });
    return new PythonMachine(seconds, handle, this.#driver);
  }

  async close(): Promise<void> {
    await this.#driver.close();
  }
}

class PythonMachine implements Machine {
  constructor(
    readonly launchSeconds: number,
    readonly handle: number,
    readonly driver: PythonDriver,
  ) {}

  async format(): Promise<void> {
    await this.#call('mkfs', 'ext4', FIRST_DRIVE);
    await this.#call('mount', FIRST_DRIVE, '/');
  }

  async mountReadOnly(): Promise<void> {
    await this.#call('mount_ro', FIRST_DRIVE, '/');
  }

  async upload(local: string, remote: string): Promise<number> {
    return (await this.#call('upload', local, remote)).seconds;
  }

  async download(remote: string, local: string): Promise<number> {
    return (await this.#call('download', remote, local)).seconds;
  }

  async checksum(remote: string): Promise<string> {
    return (await this.#call('checksum', 'sha256', remote)).value ?? '';
  }

  async echo(count: number): Promise<readonly number[]> {
    return (
      await this.driver.ask<{ readonly samples: readonly number[] }>({
        op: 'repeat',
        handle: this.handle,
        name: 'echo_daemon',
        args: [['hello']],
        count,
      })
    ).samples;
  }

  async find(directory: string): Promise<Listing> {
    return this.#list('find', directory);
  }

  async readdir(directory: string): Promise<Listing> {
    return this.#list('readdir', directory);
  }

  async close(): Promise<void> {
    await this.driver.ask({ op: 'close', handle: this.handle });
  }

  #call(name: string, ...args: readonly unknown[]): Promise<CallAnswer> {
    return this.driver.ask<CallAnswer>({ op: 'call', handle: this.handle, name, args });
  }

  async #list(name: string, directory: string): Promise<Listing> {
    const { seconds, length } = await this.#call(name, directory);
    return { seconds, names: length ?? 0 };
  }
}
