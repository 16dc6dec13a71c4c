/**
 * Templates on disk, so that a restarted server need not boot an appliance first.
 *
 *     <cache directory>/guestfs-grpc-<uid>/templates/<key>/{memory,state,overlay,template.json}
 *
 * A template is written to a temporary directory and renamed when it is complete; if two servers make
 * the same one, the first wins. Files are verified against digests when they are loaded, so that no clone
 * starts from a template damaged by a full disk or a crash.
 */
import { lstat, mkdtemp, readdir, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { makePrivateDirectory } from '../../common/privateDirectory.js';
import type { Template } from './template.js';
import { FACTS, readTemplate, SPARSE, writeTemplate } from './templateFiles.js';

const UNFINISHED = '.unfinished-';
/** Unfinished templates of servers that died are removed after this time. */
const UNFINISHED_MS = 3600_000;
/** Maximum number of templates on disk; the least recently used are removed. */
const MOST = 8;

/** Stores templates in one directory. */
export class TemplateStore {
  constructor(
    private readonly cacheDirectory: string,
    private readonly logger: Logger,
  ) {}

  /** The template with this key; undefined if there is none that is complete. */
  async load(key: string, signal: AbortSignal): Promise<Template | undefined> {
    const directory = join(this.#directory(), key);
    // A directory that is not usable, or not private, contains no templates; `keep` reports why.
    if (
      !(await this.#prepare().then(
        () => true,
        () => false,
      )) ||
      !(await exists(directory))
    )
      return undefined;
    try {
      const template = await readTemplate(key, directory, SPARSE, signal);
      // Records the time of the last use.
      await utimes(join(directory, FACTS), new Date(), new Date()).catch(() => undefined);
      return template;
    } catch (error) {
      signal.throwIfAborted();
      this.logger.warn('a stored template is unusable and will be recreated', {
        template: key,
        reason: messageOf(error),
      });
      await this.remove(key);
      return undefined;
    }
  }

  /** Stores a template; if that fails, it exists only as long as this server. */
  async keep(template: Template, signal: AbortSignal): Promise<void> {
    let unfinished: string | undefined;
    try {
      await this.#prepare();
      unfinished = await mkdtemp(join(this.#directory(), UNFINISHED));
      await writeTemplate(template, unfinished, SPARSE, signal);
      if (await moveUnlessThere(unfinished, join(this.#directory(), template.key))) await this.#makeRoom(template.key);
      else await rm(unfinished, { recursive: true });
    } catch (error) {
      if (unfinished !== undefined) await rm(unfinished, { recursive: true, force: true });
      if (signal.aborted) return;
      this.logger.warn('cannot store a template: it will be recreated after a restart', {
        template: template.key,
        reason: messageOf(error),
      });
    }
  }

  /** Removes a template. */
  async remove(key: string): Promise<void> {
    await rm(join(this.#directory(), key), { recursive: true, force: true }).catch((error: unknown) => {
      this.logger.warn('cannot remove a template', { template: key, reason: messageOf(error) });
    });
  }

  #directory(): string {
    return join(this.cacheDirectory, `guestfs-grpc-${process.geteuid?.() ?? 0}`, 'templates');
  }

  async #prepare(): Promise<void> {
    await makePrivateDirectory(join(this.#directory(), '..'), 0o700);
    await makePrivateDirectory(this.#directory(), 0o700);
  }

  async #makeRoom(newest: string): Promise<void> {
    const found: { name: string; usedAt: number }[] = [];
    for (const name of await readdir(this.#directory())) {
      const path = join(this.#directory(), name);
      const age = await stat(name.startsWith(UNFINISHED) ? path : join(path, FACTS)).then(
        ({ mtimeMs }) => mtimeMs,
        () => 0,
      );
      if (!name.startsWith(UNFINISHED)) found.push({ name, usedAt: age });
      else if (Date.now() - age > UNFINISHED_MS) await rm(path, { recursive: true, force: true });
    }
    found.sort((one, other) => other.usedAt - one.usedAt);
    for (const { name } of found.filter((one) => one.name !== newest).slice(MOST - 1)) await this.remove(name);
  }
}

/** Moves a directory; false: the target already exists, since another server was faster. */
async function moveUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (error) {
    if (['ENOTEMPTY', 'EEXIST'].includes((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
}

/** Whether the directory exists, even if it is incomplete: it would block the rename of the next template. */
async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: NodeJS.ErrnoException) => error.code !== 'ENOENT',
  );
}
