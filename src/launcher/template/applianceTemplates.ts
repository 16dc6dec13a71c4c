/**
 * Templates that come with an appliance, as in the image of a container:
 *
 *     <appliance>/templates/<key>/{memory,state,overlay,template.json}
 *
 * They are found whoever the server's user is, and may be on a read-only file system. Whoever can write there can also
 * replace the appliance's kernel, so they are trusted as much as that.
 */
import { access, chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import type { PreflightResult } from '../preflight.js';
import type { Template } from './template.js';
import { FACTS, PACKED, readTemplate, writeTemplate } from './templateFiles.js';
import { portableKey, type TemplateConfig } from './templateKey.js';

const FOLDER = 'templates';

/** The templates that appliances bring. */
export class ApplianceTemplates {
  /** Directories of those in use, by the keys of their templates. */
  readonly #used = new Map<string, string>();
  /** Directories of those that turned out to be unusable, which perhaps cannot be removed. */
  readonly #unusable = new Set<string>();

  constructor(private readonly logger: Logger) {}

  /**
   * The template of an appliance for machines with these settings; undefined if it brings none.
   * @param key of the template that is returned
   */
  async load(
    key: string,
    config: TemplateConfig,
    base: PreflightResult,
    signal: AbortSignal,
  ): Promise<Template | undefined> {
    const directory = await directoryOf(config, base);
    if (directory === undefined || this.#unusable.has(directory)) return undefined;
    try {
      const template = await readTemplate(key, directory, PACKED, signal);
      this.#used.set(key, directory);
      return template;
    } catch (error) {
      signal.throwIfAborted();
      this.#unusable.add(directory);
      this.logger.warn('a template of the appliance is unusable and will be replaced by another', {
        directory,
        reason: messageOf(error),
      });
      return undefined;
    }
  }

  /** Does not use a template again, if it came with an appliance: its clones fail. */
  discard(key: string): void {
    const directory = this.#used.get(key);
    if (directory !== undefined) this.#unusable.add(directory);
  }
}

/**
 * Stores a template with its appliance.
 * @returns its directory
 * @throws Error if the appliance cannot have templates
 */
export async function storeWithAppliance(
  template: Template,
  config: TemplateConfig,
  base: PreflightResult,
  signal: AbortSignal,
): Promise<string> {
  const key = await portableKey(config, base);
  const { directory } = base.appliance;
  if (key === undefined)
    throw new Error(
      `the manifest of the appliance in ${directory} lacks checksums: its templates could not be told apart`,
    );
  const folder = join(directory, FOLDER);
  await mkdir(folder, { recursive: true });
  const unfinished = await mkdtemp(join(folder, '.unfinished-'));
  try {
    await writeTemplate(template, unfinished, PACKED, signal);
    await chmod(unfinished, 0o755);
    await rm(join(folder, key), { recursive: true, force: true });
    await rename(unfinished, join(folder, key));
  } catch (error) {
    await rm(unfinished, { recursive: true, force: true });
    throw error;
  }
  return join(folder, key);
}

/** The directory of the template, if there is one. */
async function directoryOf(config: TemplateConfig, base: PreflightResult): Promise<string | undefined> {
  const folder = join(base.appliance.directory, FOLDER);
  // Without templates, which is usual, the key need not be computed.
  if (!(await exists(folder))) return undefined;
  const key = await portableKey(config, base);
  if (key === undefined) return undefined;
  return (await exists(join(folder, key, FACTS))) ? join(folder, key) : undefined;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
