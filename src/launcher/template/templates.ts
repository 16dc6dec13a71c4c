/** The templates of a server: loaded from disk, or created, one at a time, when one is first requested. */
import { messageOf } from '../../common/errors.js';
import type { Logger } from '../../common/logger.js';
import { abortController, unlessAborted, withTimeLimit } from '../../common/waiting.js';
import type { QemuUsers } from '../../qemu/qemuUsers.js';
import type { PreflightConfig, LaunchPreflight, PreflightResult } from '../preflight.js';
import { makeTemplate } from './makeTemplate.js';
import type { Template } from './template.js';
import { templateKey, type TemplateConfig } from './templateKey.js';
import { TemplateStore } from './templateStore.js';

/** Maximum number of templates in memory; each takes about 150 MB. */
const MOST_IN_MEMORY = 4;
/** How long creating one may take; the same as for a launch. */
const LIMIT_MS = 180_000;
/** Delay before the next attempt if a template could not be created. */
const FAILURE_HOLDS_MS = 600_000;
/** After this many templates with the same key were rejected because clones failed, no other is created for a while. */
const MOST_REJECTIONS = 2;

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

export class Templates {
  readonly #options: TemplatesOptions;
  /** Least recently used first. */
  readonly #ready = new Map<string, Template>();
  readonly #loading = new Map<string, Promise<Template | undefined>>();
  readonly #failures = new Map<string, { readonly reason: string; readonly until: number }>();
  readonly #rejections = new Map<string, number>();
  readonly #background = new Set<Promise<unknown>>();
  readonly #ended = abortController();
  #making: { readonly key: string; readonly done: Promise<unknown> } | undefined;

  constructor(options: TemplatesOptions) {
    this.#options = options;
  }

  /**
   * The template for machines with these settings, if it is in memory or on disk. If not, it is created in the
   * background for later requests: for the caller, a cold boot is faster than waiting for the template.
   * @throws the reason of `signal`
   */
  async get(request: TemplateRequest, base: PreflightResult, signal: AbortSignal): Promise<Template | NoTemplate> {
    const key = await templateKey(request, base);
    const template = this.#ready.get(key) ?? (await unlessAborted(this.#load(key, request), signal));
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

  /** Discards a template from which a clone could not be started; it is recreated, unless that has happened before. */
  async reject(template: Template, request: TemplateRequest, reason: string): Promise<void> {
    const { key } = template;
    if (this.#ready.get(key) !== template) return;
    this.#ready.delete(key);
    const rejections = (this.#rejections.get(key) ?? 0) + 1;
    this.#rejections.set(key, rejections);
    if (rejections >= MOST_REJECTIONS) this.#fail(key, `clones of it fail: ${reason}`);
    await Promise.all([template.retire(), this.#store(request).remove(key)]);
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

  #load(key: string, request: TemplateRequest): Promise<Template | undefined> {
    const loading = this.#loading.get(key);
    if (loading !== undefined) return loading;
    const load = async (): Promise<Template | undefined> => {
      const kept = await this.#store(request).load(key, this.#ended.signal);
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
    } catch (error) {
      this.#fail(key, messageOf(error));
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

  #fail(key: string, reason: string): void {
    this.#failures.set(key, { reason, until: Date.now() + FAILURE_HOLDS_MS });
    if (!this.#ended.signal.aborted)
      this.#options.logger.warn('templates do not work on this host: falling back to cold boot', {
        template: key,
        reason,
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
