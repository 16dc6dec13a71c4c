/** What measurements need: subjects in turn, a directory for files, a time limit. */
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Workspace } from '../demo/server/workspace.js';
import { Library } from './subjects/library.js';
import { isService, Service, SERVICES, type ServiceId } from './subjects/service.js';
import { SUBJECT_TITLES, type BenchDrive, type Machine, type Subject, type SubjectId } from './subjects/subject.js';

export interface BenchOptions {
  readonly repeat: number;
  /** Size of files that are transferred, MiB; undefined: the measurement's own. */
  readonly size: number | undefined;
  readonly appliance: string;
  /** Directory of another checkout, built; undefined: none is measured. */
  readonly against: string | undefined;
  /** The subjects to measure. */
  readonly subjects: readonly SubjectId[];
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Subjects to be measured in place of the usual ones. */
export type OtherSubjects = Readonly<Partial<Record<SubjectId, Subject>>>;

export class Bench {
  readonly #libraries = new Map<SubjectId, Library>();
  /** By their ID and flags. */
  readonly #services = new Map<string, Service>();

  private constructor(
    readonly options: BenchOptions,
    readonly workspace: Workspace,
  ) {}

  static async open(options: BenchOptions): Promise<Bench> {
    const workspace = await Workspace.create('guestfs-grpc-bench-');
    await mkdir(workspace.path('images'));
    await mkdir(workspace.path('tmp'));
    // Like /tmp, because a server that runs as root starts qemu as another user.
    await chmod(workspace.path('tmp'), 0o1777);
    return new Bench(options, workspace);
  }

  get repeat(): number {
    return this.options.repeat;
  }

  say(text: string): void {
    this.options.say(text);
  }

  /** Path for a file of a measurement, such as a drive. */
  image(name: string): string {
    return this.workspace.path('images', name);
  }

  /** Whether a subject is to be measured. */
  has(id: SubjectId): boolean {
    return this.options.subjects.includes(id);
  }

  /** The versions of the service that are to be measured. */
  get services(): readonly ServiceId[] {
    return SERVICES.filter((id) => this.has(id));
  }

  /** The service, started on the first request with these flags. */
  async service(flags: readonly string[] = [], id: ServiceId = 'service'): Promise<Service> {
    const key = [id, ...flags].join(' ');
    const there = this.#services.get(key);
    if (there !== undefined) return there;
    const { appliance, against, signal } = this.options;
    const started = await Service.start({
      id,
      program: id === 'other' ? join(against ?? '', 'dist', 'src', 'cli', 'main.js') : undefined,
      imageRoot: this.workspace.path('images'),
      temporary: this.workspace.path('tmp'),
      appliance,
      logFile: this.workspace.path('server.log'),
      flags,
      signal,
    });
    this.#services.set(key, started);
    return started;
  }

  /**
   * Runs something for each subject in turn; one that fails is left out, with the reason.
   * @param others to be used in place of the usual ones
   */
  async withEach<Value>(
    body: (subject: Subject) => Promise<Value>,
    others: OtherSubjects = {},
  ): Promise<Map<SubjectId, Value>> {
    const values = new Map<SubjectId, Value>();
    for (const id of this.options.subjects) {
      try {
        values.set(id, await body(others[id] ?? (await this.#subject(id))));
      } catch (error) {
        this.#rethrowUnlessLibrary(id, error);
      }
    }
    return values;
  }

  /**
   * Launches an appliance of each subject, and measures them in turn, `repeat` times after a warm-up
   * that does not count: it fills caches and compiles code.
   */
  async inTurn<Value>(
    drives: readonly BenchDrive[],
    prepare: (machine: Machine) => Promise<unknown>,
    measure: (machine: Machine, id: SubjectId) => Promise<Value>,
    others: OtherSubjects = {},
  ): Promise<Map<SubjectId, Value[]>> {
    const machines = await this.withEach(async (subject) => {
      const machine = await subject.launch(drives);
      try {
        await prepare(machine);
        await measure(machine, subject.id);
      } catch (error) {
        if (!this.options.signal.aborted) await machine.close();
        throw error;
      }
      return machine;
    }, others);
    const values = new Map<SubjectId, Value[]>();
    for (let round = 0; round < this.repeat; round += 1) {
      for (const [id, machine] of machines) {
        this.options.signal.throwIfAborted();
        const value = await measure(machine, id);
        values.set(id, [...(values.get(id) ?? []), value]);
      }
    }
    for (const machine of machines.values()) await machine.close();
    return values;
  }

  /** Stops everything and removes all files. */
  async close(): Promise<void> {
    for (const subject of [...this.#services.values(), ...this.#libraries.values()]) await subject.close();
    await this.workspace.remove();
  }

  async #subject(id: SubjectId): Promise<Subject> {
    if (isService(id)) return this.service([], id);
    const there = this.#libraries.get(id);
    if (there !== undefined) return there;
    const { appliance, signal } = this.options;
    const library = new Library({
      id,
      appliance: id === 'library' ? appliance : undefined,
      temporary: this.workspace.path('tmp'),
      signal,
    });
    this.#libraries.set(id, library);
    return library;
  }

  /** If the library fails, its column stays empty; if the service fails, the measurement fails. */
  #rethrowUnlessLibrary(id: SubjectId, error: unknown): void {
    if (isService(id) || this.options.signal.aborted) throw error;
    this.say(`${SUBJECT_TITLES[id]} is left out: ${error instanceof Error ? error.message : String(error)}`);
  }
}
