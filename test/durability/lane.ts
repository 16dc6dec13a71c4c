/** One image under load: sessions come and go on it, are cut off, and the image is examined afterwards. */
import { join } from 'node:path';
import type { Random } from '../fuzz/engine/random.js';
import { emptyImage, run } from '../support/diskImages.js';
import { imageDrive, SessionClient, type TestClient } from '../support/testClient.js';
import { examine, imageFault } from './examine.js';
import { nameOf, type Subject } from './fileSystems.js';
import { Ledger } from './ledger.js';
import { Load, makeFileSystem, mount, sha256Of } from './load.js';

/** What a lane has found out so far. */
export interface LaneFigures {
  calls: number;
  crashes: number;
  /** Crashes that were examined to the end. */
  examined: number;
  promises: number;
  /** Comparisons of files whose state had been promised. */
  promisedFiles: number;
  /** Files with changes that nobody had promised, and how many of them survived completely. */
  openFiles: number;
  newestFiles: number;
}

export interface LaneOptions extends Subject {
  /** Tells its image from those of others with the same file system and format. */
  readonly name?: string;
  readonly directory: string;
  readonly random: Random;
  /** Called with the time that each change took, milliseconds. */
  readonly onChanged?: (ms: number) => void;
  /** Called between changes, with what the files contain; returns what is wrong with answers about them. */
  readonly ask?: (session: SessionClient, files: ReadonlyMap<string, Buffer>) => Promise<string | undefined>;
}

/** When a lane stops. */
export interface LaneRun {
  /** Whether a failure is expected: something was killed. */
  readonly doomed: () => boolean;
  /** Whether to end in order; by default, only a failure ends it. */
  readonly over?: () => boolean;
}

export class Lane {
  readonly name: string;
  readonly image: string;
  readonly figures: LaneFigures = {
    calls: 0,
    crashes: 0,
    examined: 0,
    promises: 0,
    promisedFiles: 0,
    openFiles: 0,
    newestFiles: 0,
  };
  /** Descriptions of what was lost or damaged. */
  readonly faults: string[] = [];
  /** The ID of its session, once there is one. */
  session: string | undefined;
  /** Files are being changed: not while the image is being examined. */
  loading = false;
  #ledger = new Ledger();
  #files = new Map<string, Buffer>();
  /** The last session was cut off. */
  #crashed = false;
  #load: Load | undefined;

  constructor(private readonly options: LaneOptions) {
    const { directory, fileSystem, format, name = '' } = options;
    this.name = name + nameOf(options);
    this.image = join(directory, `${name}${fileSystem.name}.${format}`);
  }

  /** Makes the image and its file system. */
  async prepare(client: TestClient): Promise<void> {
    const { fileSystem, format } = this.options;
    if (format === 'raw') emptyImage(this.image, fileSystem.mebibytes);
    else run('qemu-img', 'create', '-q', '-f', format, this.image, `${fileSystem.mebibytes}M`);
    const session = await this.#open(client);
    await makeFileSystem(session, fileSystem);
    await client.deleteSession(session.id);
    this.session = undefined;
  }

  /**
   * Keeps the image under load until a call fails, or it is over.
   * @throws the failure if it is not expected
   */
  async run(client: TestClient, { doomed, over = () => false }: LaneRun): Promise<void> {
    try {
      while (!over()) {
        const session = await this.#open(client);
        if (this.#crashed) await this.#recover(session);
        else await mount(session);
        await this.#change(session, over);
      }
      return;
    } catch (error) {
      if (!doomed()) throw error;
    } finally {
      this.loading = false;
    }
    this.#crashed = true;
    this.figures.crashes += 1;
  }

  /** Looks at the image file when nothing has it open any more. */
  examineFile(): void {
    const fault = imageFault(this.image, this.options.format);
    if (fault !== undefined) this.faults.push(`${this.name}: ${fault}`);
  }

  /** Ends the session in order, for another client: the one that it had is gone, with a call that was not answered. */
  async endInOrder(client: TestClient): Promise<void> {
    if (this.session === undefined) return;
    await client.deleteSession(this.session);
    this.#ledger.promise(0, this.#load?.unanswered);
  }

  /** Examines the image once more, after the last crash. */
  async finish(client: TestClient): Promise<void> {
    const session = await this.#open(client);
    await this.#recover(session);
    await client.deleteSession(session.id);
  }

  async #open(client: TestClient): Promise<SessionClient> {
    const drives = [imageDrive(this.image, { format: this.options.format })];
    const { id } = await client.createSession({ drives });
    this.session = id;
    const session = new SessionClient(client, id);
    await session.call('launch');
    return session;
  }

  /** Changes files until the session ends in order. */
  async #change(session: SessionClient, over: () => boolean): Promise<void> {
    const { fileSystem, random, ask, onChanged } = this.options;
    const load = new Load({
      session,
      fileSystem,
      random,
      ledger: this.#ledger,
      files: this.#files,
      position: () => 0,
    });
    this.#load = load;
    this.loading = true;
    for (;;) {
      const began = performance.now();
      const step = over() ? await load.end() : await load.step();
      if (step === 'changed') onChanged?.(performance.now() - began);
      this.figures.calls += 1;
      if (step !== 'changed') this.figures.promises += 1;
      if (step === 'ended') break;
      const wrong = await ask?.(session, this.#files);
      if (wrong !== undefined) this.faults.push(`${this.name}: wrong answer: ${wrong}`);
    }
    this.loading = false;
    this.session = undefined;
  }

  /** Compares the image with what was acknowledged, and begins anew with what is there; leaves it mounted. */
  async #recover(session: SessionClient): Promise<void> {
    const { files, fault } = await examine(session, this.options.fileSystem);
    const { faults, promised, open, newest } = this.#ledger.compare(files);
    this.faults.push(...[...faults, ...(fault === undefined ? [] : [fault])].map((one) => `${this.name}: ${one}`));
    this.figures.examined += 1;
    this.figures.promisedFiles += promised;
    this.figures.openFiles += open;
    this.figures.newestFiles += newest;
    this.#crashed = false;
    await mount(session);
    await this.#settle(session, files);
  }

  /** Removes files with contents that are not known, so that the load can go on. */
  async #settle(session: SessionClient, found: ReadonlyMap<string, string>): Promise<void> {
    const known = new Map([...this.#files].filter(([path, content]) => found.get(path) === sha256Of(content)));
    const unknown = [...found].filter(([path]) => !known.has(path));
    const kept = new Ledger(new Map([...found].filter(([path]) => known.has(path))));
    // Should this be cut off as well, these files may be there or not.
    this.#ledger = new Ledger(found);
    this.#ledger.change(
      0,
      unknown.map(([path]) => ({ path, state: undefined, atomic: true })),
    );
    this.#files = known;
    for (const [path] of unknown) await session.call('rm', { path });
    await session.call('sync');
    this.#ledger = kept;
  }
}
