/** The inputs of templates, without an appliance and without a qemu. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMemoryFile } from '../../../../src/common/memoryFile.js';
import type { LogFields, Logger } from '../../../../src/common/logger.js';
import type { LaunchPreflight, PreflightResult } from '../../../../src/launcher/preflight.js';
import { Template } from '../../../../src/launcher/template/template.js';
import type { TemplateRequest } from '../../../../src/launcher/template/templates.js';

const never = new AbortController().signal;

export class TemplateScene {
  readonly directory = mkdtempSync(join(tmpdir(), 'templates-'));
  readonly cache = join(this.directory, 'cache');
  readonly warnings: { message: string; fields: LogFields }[] = [];
  readonly logger: Logger;
  readonly request: TemplateRequest;
  #files: FileHandle[] = [];
  #grounds = 0;

  constructor() {
    mkdirSync(this.cache);
    for (const name of ['kernel', 'initrd', 'root', 'qemu'])
      writeFileSync(join(this.directory, name), name, { mode: 0o755 });
    const logger: Logger = {
      debug: () => undefined,
      info: () => undefined,
      warn: (message, fields = {}) => {
        this.warnings.push({ message, fields });
      },
      error: () => undefined,
      child: () => logger,
    };
    this.logger = logger;
    this.request = {
      ...{ memsizeMb: 1280, smp: 1, network: false, selinux: false, verbose: false, append: undefined },
      ...{
        accelerator: 'tcg' as const,
        qemuBinary: this.path('qemu'),
        appliancePath: this.directory,
        temporaryDirectory: this.directory,
        cacheDirectory: this.cache,
      },
    };
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Where templates are kept. */
  get kept(): string {
    return join(this.cache, `guestfs-grpc-${process.geteuid?.() ?? 0}`, 'templates');
  }

  /** Preflights that were run and not closed. */
  get openGrounds(): number {
    return this.#grounds;
  }

  async base(changes: Partial<PreflightResult> = {}): Promise<PreflightResult> {
    const [kernel, initrd, root] = (await Promise.all(
      ['kernel', 'initrd', 'root'].map((name) => open(this.path(name), 'r')),
    )) as [FileHandle, FileHandle, FileHandle];
    this.#grounds += 1;
    let closed = false;
    const close = async (): Promise<void> => {
      if (closed) return;
      closed = true;
      this.#grounds -= 1;
      await Promise.all([kernel.close(), initrd.close(), root.close()]);
    };
    const appliance = {
      ...{ kernel, initrd, root, close, directory: this.directory, kind: 'fixed' as const, manifest: undefined },
      rootUuid: '11111111-2222-3333-4444-555555555555',
      rootImage: { format: 'raw' as const, virtualSize: 1n << 30n, uuid: undefined },
    } as unknown as PreflightResult['appliance'];
    return {
      qemuBinary: this.path('qemu'),
      appliance,
      accelerator: 'tcg',
      kvmUnusable: undefined,
      kvmGroups: [],
      ...changes,
    };
  }

  preflight(): LaunchPreflight {
    return {
      run: () => this.base(),
      imageProbe: () => {
        throw new Error('no image is probed');
      },
    };
  }

  /** A template that nothing can be cloned from. */
  async template(key: string, contents = key): Promise<Template> {
    const file = async (name: string): Promise<FileHandle> => {
      const made = await createMemoryFile(0, never);
      this.#files.push(made);
      await made.write(`${name} of ${contents}`);
      return made;
    };
    return new Template(
      key,
      { memory: await file('memory'), state: await file('state'), overlay: await file('overlay') },
      { console: Buffer.from(`console of ${contents}\n\xff`, 'latin1'), createdAt: 1234 },
    );
  }

  async remove(): Promise<void> {
    await Promise.all(this.#files.map((file) => file.close().catch(() => undefined)));
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Contents of one of a template's files. */
export async function contentsOf(template: Template, name: 'memory' | 'state' | 'overlay'): Promise<string> {
  const file = await template.open(name);
  try {
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}
