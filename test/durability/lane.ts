/** One image under load: sessions come and go on it, are cut off, and the image is examined afterwards. */
import { join } from 'node:path';
import type { Random } from '../fuzz/engine/random.js';
import { emptyImage, run } from '../support/diskImages.js';
import { imageDrive, SessionClient, type TestClient } from '../support/testClient.js';
import { examine, imageFault } from './examine.js';
import type { FileSystem, ImageFormat } from './fileSystems.js';
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

export interface LaneOptions {
  readonly directory: string;
  readonly fileSystem: FileSystem;
  readonly format: ImageFormat;
  readonly random: Random;
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

  constructor(private readonly options: LaneOptions) {
    const { directory, fileSystem, format } = options;
    this.name = `${fileSystem.name} on ${format}`;
    this.image = join(directory, `${fileSystem.name}.${format}`);
  }

  /** Makes the image and its file system. */
  async prepare(client: TestClient): Promise<void> {
    const { fileSystem, format } = this.options;
    if (format === 'raw') emptyImage(this.image, fileSystem.mebibytes);
    else run('qemu-img', 'create', '-q', '-f', format, this.image, `${fileSystem.mebibytes}M`);
    const session = await this.#open(client);
    await makeFileSystem(session, fileSystem);
    await client.deleteSession(session.id);
  }

  /**
   * Keeps the image under load until a call fails.
   * @param doomed whether a failure is expected: something was killed
   * @throws the failure if it is not expected
   */
  async run(client: TestClient, doomed: () => boolean): Promise<void> {
    try {
      for (;;) {
        const session = await this.#open(client);
        if (this.#crashed) await this.#recover(session);
        else await mount(session);
        await this.#change(session);
      }
    } catch (error) {
      if (!doomed()) throw error;
    } finally {
      this.loading = false;
    }
    this.#crashed = true;
    this.figures.crashes += 1;
    const fault = imageFault(this.image, this.options.format);
    if (fault !== undefined) this.faults.push(`${this.name}: ${fault}`);
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
  async #change(session: SessionClient): Promise<void> {
    const { fileSystem, random } = this.options;
    const load = new Load({
      session,
      fileSystem,
      random,
      ledger: this.#ledger,
      files: this.#files,
      position: () => 0,
    });
    this.loading = true;
    for (;;) {
      const step = await load.step();
      this.figures.calls += 1;
      if (step !== 'changed') this.figures.promises += 1;
      if (step === 'ended') return;
    }
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
