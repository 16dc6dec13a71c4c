/** The templates of a server: loaded from disk, or created, one at a time, when one is first requested. */
import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { abortController, unlessAborted, withTimeLimit } from '../../common/waiting.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import type { PreflightConfig, LaunchPreflight, PreflightResult } from '../preflight.js';
import { ApplianceTemplates } from './applianceTemplates.js';
import { blamesTemplate } from './blame.js';
import { makeTemplate } from './makeTemplate.js';
import type { Template } from './template.js';
import { templateKey, type TemplateConfig } from './templateKey.js';
import { TemplateStore } from './templateStore.js';

/** Maximum number of templates in memory; each takes about 150 MB. */
const MOST_IN_MEMORY = 4;
/** How long creating one may take; the same as for a launch. */
const LIMIT_MS = 180_000;
/** After a template could not be made, or its clones failed, none is made for this time; twice as long each time ... */
const FIRST_HOLD_MS = 30_000;
/** ... up to this. */
const LONGEST_HOLD_MS = 600_000;
/** Failures are forgotten after this time without another. */
const MEMORY_MS = 1_200_000;
/** A template is discarded when this many of its clones fail in a row. */
const MOST_FAILED_CLONES = 2;
/** After this many discarded templates in a row, the next one is no longer made at once. */
const MOST_DISCARDED = 2;

/** Options of {@link Templates}. */
export interface TemplatesOptions {
  readonly logger: Logger;
  readonly users: QemuUsers;
  readonly preflight: LaunchPreflight;
  /** Replaces booting an appliance; for tests. */
  readonly make?: typeof makeTemplate;
}

/** Why there is no template for a launch, as the end of a sentence. */
export interface NoTemplate {
  readonly reason: string;
}

/** All settings that a template depends on. */
export type TemplateRequest = TemplateConfig & PreflightConfig;

/** Counts by key; a count that has not grown for {@link MEMORY_MS} is forgotten. */
class Counts {
  readonly #counts = new Map<string, { readonly count: number; readonly at: number }>();

  /** @returns the new count */
  add(key: string): number {
    const before = this.#counts.get(key);
    const count = before !== undefined && Date.now() - before.at < MEMORY_MS ? before.count + 1 : 1;
    this.#counts.set(key, { count, at: Date.now() });
    return count;
  }

  reset(key: string): void {
    this.#counts.delete(key);
  }
}

export class Templates {
  readonly #options: TemplatesOptions;
  readonly #brought: ApplianceTemplates;
  /** Least recently used first. */
  readonly #ready = new Map<string, Template>();
  readonly #loading = new Map<string, Promise<Template | undefined>>();
  readonly #failures = new Map<string, { readonly reason: string; readonly until: number }>();
  /** Clones of the current template that failed in a row. */
  readonly #failedClones = new Counts();
  /** Templates that were discarded in a row, without a working clone in between. */
  readonly #discarded = new Counts();
  /** Failures in a row to make a template. */
  readonly #notMade = new Counts();
  readonly #background = new Set<Promise<unknown>>();
  readonly #ended = abortController();
  #making: { readonly key: string; readonly done: Promise<unknown> } | undefined;

  constructor(options: TemplatesOptions) {
    this.#options = options;
    this.#brought = new ApplianceTemplates(options.logger);
  }

  /**
   * The template for machines with these settings, if it is in memory, on disk or with the appliance. If not, it is created in the
   * background for later requests: for the caller, a cold boot is faster than waiting for the template.
   * @throws the reason of `signal`
   */
  async get(request: TemplateRequest, base: PreflightResult, signal: AbortSignal): Promise<Template | NoTemplate> {
    const key = await templateKey(request, base);
    const template = this.#ready.get(key) ?? (await unlessAborted(this.#load(key, request, base), signal));
    if (template !== undefined) return this.#touch(template);
    const failure = this.#failures.get(key);
    if (failure !== undefined && failure.until > Date.now()) return failure;
    this.#making ??= {
      key,
      done: this.#make(key, request).finally(() => {
        this.#making = undefined;
      }),
    };
    return {
      reason:
        this.#making.key === key ? 'its template is being created' : 'a template for other settings is being created',
    };
  }

  /** Resolves when no template is being created. */
  async idle(): Promise<void> {
    await this.#making?.done;
  }

  /** A clone was started: earlier failures are forgotten. */
  succeeded({ key }: Template): void {
    this.#failedClones.reset(key);
    this.#discarded.reset(key);
  }

  /**
   * A clone could not be started, but a cold boot could. If the clone was killed, or the host had run out of some
   * resource, that is not the template's fault, and a single failure may be chance. A template is discarded when
   * several of its clones fail in a row, and then made again: at once, or after a while if that has happened before.
   */
  async failed(template: Template, request: TemplateRequest, error: Error): Promise<void> {
    const { key } = template;
    if (!blamesTemplate(error) || this.#ready.get(key) !== template) return;
    if (this.#failedClones.add(key) < MOST_FAILED_CLONES) return;
    this.#failedClones.reset(key);
    this.#ready.delete(key);
    const before = this.#discarded.add(key) - MOST_DISCARDED;
    if (before >= 0) this.#fail(key, `clones of it fail: ${error.message}`, before);
    await template.retire();
    // The template may still be in the process of being stored.
    await Promise.all(this.#background);
    this.#brought.discard(key);
    await this.#store(request).remove(key);
  }

  /** Stops creating templates, and frees their memory. */
  async close(): Promise<void> {
    this.#ended.abort(new Error('the server is shutting down'));
    await this.#making?.done;
    await Promise.all([...this.#background, ...[...this.#ready.values()].map((template) => template.retire())]);
    this.#ready.clear();
  }

  #store({ cacheDirectory }: PreflightConfig): TemplateStore {
    return new TemplateStore(cacheDirectory, this.#options.logger);
  }

  #load(key: string, request: TemplateRequest, base: PreflightResult): Promise<Template | undefined> {
    const loading = this.#loading.get(key);
    if (loading !== undefined) return loading;
    const load = async (): Promise<Template | undefined> => {
      const { signal } = this.#ended;
      const kept =
        (await this.#store(request).load(key, signal)) ?? (await this.#brought.load(key, request, base, signal));
      if (kept !== undefined) await this.#add(kept);
      return kept;
    };
    const started = load().finally(() => this.#loading.delete(key));
    this.#loading.set(key, started);
    return started;
  }

  async #make(key: string, request: TemplateRequest): Promise<void> {
    const late = (): Error => new Error(`it took longer than ${LIMIT_MS / 1000} s to create the template`);
    try {
      await withTimeLimit(LIMIT_MS, late, [this.#ended.signal], (signal) => this.#makeAndAdd(key, request, signal));
      this.#notMade.reset(key);
    } catch (error) {
      this.#fail(key, messageOf(error), this.#notMade.add(key) - 1);
    }
  }

  async #makeAndAdd(key: string, request: TemplateRequest, signal: AbortSignal): Promise<void> {
    const { logger, preflight, users, make = makeTemplate } = this.#options;
    // With a separate preflight: the caller does not wait, and closes its own.
    const base = await preflight.run(request, signal);
    try {
      if ((await templateKey(request, base)) !== key) throw new Error('the appliance was replaced');
      const template = await make(
        key,
        request,
        base,
        { logger, users, temporaryDirectory: request.temporaryDirectory },
        signal,
      );
      this.#inBackground(template.use(() => this.#store(request).keep(template, this.#ended.signal)));
      await this.#add(template);
    } finally {
      await base.appliance.close();
    }
  }

  #inBackground(work: Promise<unknown>): void {
    const done = work.catch(() => undefined).finally(() => this.#background.delete(done));
    this.#background.add(done);
  }

  /** @param before number of failures of the same kind before this one, in a row */
  #fail(key: string, reason: string, before: number): void {
    const holdMs = Math.min(FIRST_HOLD_MS * 2 ** before, LONGEST_HOLD_MS);
    this.#failures.set(key, { reason, until: Date.now() + holdMs });
    if (!this.#ended.signal.aborted)
      this.#options.logger.warn('no template for now: falling back to cold boot', {
        template: key,
        reason,
        retryAfterSeconds: holdMs / 1000,
      });
  }

  async #add(template: Template): Promise<void> {
    if (this.#ended.signal.aborted) {
      await template.retire();
      throw this.#ended.signal.reason;
    }
    this.#touch(template);
    for (const old of [...this.#ready.values()].slice(0, -MOST_IN_MEMORY)) {
      this.#ready.delete(old.key);
      await old.retire();
    }
  }

  #touch(template: Template): Template {
    this.#ready.delete(template.key);
    this.#ready.set(template.key, template);
    return template;
  }
}
