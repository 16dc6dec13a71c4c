/** A template: the saved machine of a booted appliance, to be cloned. */
import { open, type FileHandle } from 'node:fs/promises';

/** What is saved in addition to the files. */
export interface TemplateFacts {
  /** The end of the console output until the machine was saved. */
  readonly console: Buffer;
  /** When it was created, milliseconds since 1970. */
  readonly createdAt: number;
}

/** The files of a template. */
export interface TemplateFiles {
  /** Content of the appliance's memory. */
  readonly memory: FileHandle;
  /** State of the processors and devices, as written by qemu's migration. */
  readonly state: FileHandle;
  /** What the appliance wrote to its root: a qcow2 image. */
  readonly overlay: FileHandle;
}

/** Names of the files, in memory and on disk. */
export const TEMPLATE_FILES = ['memory', 'state', 'overlay'] as const satisfies readonly (keyof TemplateFiles)[];

/**
 * A template that is ready for use. Its files are sealed memory files, so an attacker who breaks out of
 * one session's qemu cannot reach another session through their common template.
 */
export class Template {
  #users = 0;
  #retired = false;

  constructor(
    readonly key: string,
    readonly files: TemplateFiles,
    readonly facts: TemplateFacts,
  ) {}

  /** Reopens a file, for reading from its start. */
  open(name: keyof TemplateFiles): Promise<FileHandle> {
    return open(`/proc/self/fd/${this.files[name].fd}`, 'r');
  }

  /** Keeps the files open while `body` starts a clone, which then holds them open itself. */
  async use<Value>(body: () => Promise<Value>): Promise<Value> {
    this.#users += 1;
    try {
      return await body();
    } finally {
      this.#users -= 1;
      await this.#closeUnused();
    }
  }

  /** Closes the files as soon as no clone is being started from them. */
  async retire(): Promise<void> {
    if (this.#retired) return;
    this.#retired = true;
    await this.#closeUnused();
  }

  get retired(): boolean {
    return this.#retired;
  }

  async #closeUnused(): Promise<void> {
    if (this.#retired && this.#users === 0) await Promise.all(TEMPLATE_FILES.map((name) => this.files[name].close()));
  }
}
