/** A scripted launcher: its machines are fake daemons, and it succeeds and fails as the test determines. */
import { GuestfsError } from '../../src/common/errors.js';
import type { Drive } from '../../src/images/drive.js';
import type {
  ChangedImage,
  DriveFault,
  FailedWrites,
  LaunchConfig,
  Launcher,
  LaunchOptions,
  Machine,
  MachineDrives,
  MachineExit,
  MachinePulse,
} from '../../src/launcher/launcher.js';
import { FakeDaemon } from './fakeDaemon.js';

/** Accepts all drives. */
export class FakeDrives implements MachineDrives {
  readonly attached = new Map<number, Drive>();
  /** How many writes the host failed. */
  readonly failed = new Map<number, number>();
  /** The images that were changed on the host. */
  readonly changed = new Map<number, ChangedImage>();
  /** Those failed because there was no space. */
  noSpace = false;
  /** What the next use of it does first. */
  before: () => Promise<void> = async () => undefined;

  constructor(private next = 1) {}

  async add(_connection: unknown, drive: Drive): Promise<number> {
    await this.before();
    this.attached.set(this.next, drive);
    return this.next++;
  }

  async remove(_connection: unknown, index: number): Promise<DriveFault | undefined> {
    const fault = (await this.failedWrites()).get(index) ?? this.changed.get(index);
    this.attached.delete(index);
    return fault;
  }

  async changedImages(): Promise<ReadonlyMap<number, ChangedImage>> {
    return this.changed;
  }

  async failedWrites(): Promise<ReadonlyMap<number, FailedWrites>> {
    await this.before();
    return new Map([...this.failed].map(([index, count]) => [index, { count, noSpace: this.noSpace }]));
  }
}

/** Answers at once, until the test makes it stop. */
export class FakePulse implements MachinePulse {
  /** How often it was asked. */
  asked = 0;
  answer: () => Promise<void> = async () => undefined;
  #last = performance.now();

  lastAnswer(): number {
    return this.#last;
  }

  async ask(): Promise<void> {
    this.asked += 1;
    await this.answer();
    this.#last = performance.now();
  }
}

export class FakeMachine implements Machine {
  readonly pid = 4711;
  readonly daemon = new FakeDaemon();
  readonly channel = this.daemon.channel;
  readonly connection = undefined;
  readonly accelerator = 'tcg';
  readonly launchKind = 'cold';
  readonly timings = { prepareMs: 1, drivesMs: 2, qemuMs: 3 };
  readonly drives = new FakeDrives();
  readonly pulse = new FakePulse();
  readonly exited: Promise<MachineExit>;
  /** How often it was asked to stop. */
  stops = 0;
  #exit: (exit: MachineExit) => void = () => undefined;

  constructor(readonly daemonVersion: string | undefined) {
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
  }

  /** Makes it exit unexpectedly. */
  die(exit: Partial<MachineExit> = {}): void {
    this.daemon.die();
    this.#exit({ exitCode: 1, signal: undefined, qemuMessages: '', ...exit });
  }

  /** Whether its kernel syncs when it is asked to. */
  kernelSyncs = false;

  async syncKernel(): Promise<boolean> {
    return this.kernelSyncs;
  }

  /** How it ends when it is asked to stop. */
  end: Partial<MachineExit> = { exitCode: 0 };

  /** Its end waits for this. */
  ending: Promise<void> = Promise.resolve();

  /** How long it was given each time, milliseconds. */
  readonly graces: (number | undefined)[] = [];

  async stop(graceMs?: number): Promise<MachineExit> {
    this.stops += 1;
    this.graces.push(graceMs);
    await this.ending;
    this.die(this.end);
    return this.exited;
  }

  explainFailure(consoleTail: string, exit: MachineExit | 'timeout'): GuestfsError {
    if (exit === 'timeout') return new GuestfsError('LAUNCH_TIMEOUT', `not up in time; console: ${consoleTail}`);
    return new GuestfsError(
      'LAUNCH_FAILED',
      `qemu ended with ${exit.exitCode ?? exit.signal ?? '?'}; console: ${consoleTail}`,
    );
  }
}

export interface LaunchRequest {
  readonly config: LaunchConfig;
  readonly options: LaunchOptions;
  /** Lets the launch succeed with a machine. */
  readonly succeed: (machine: FakeMachine) => void;
  readonly fail: (error: unknown) => void;
}

export class FakeLauncher implements Launcher {
  readonly requests: LaunchRequest[] = [];
  #awaited: (() => void) | undefined;

  launch(config: LaunchConfig, options: LaunchOptions): Promise<Machine> {
    return new Promise((succeed, fail) => {
      this.requests.push({ config, options, succeed, fail });
      this.#awaited?.();
    });
  }

  /** The request with this number, from 0, once it has been made. */
  async request(number = 0): Promise<LaunchRequest> {
    for (;;) {
      const request = this.requests[number];
      if (request) return request;
      await new Promise<void>((resolve) => {
        this.#awaited = resolve;
      });
    }
  }
}
