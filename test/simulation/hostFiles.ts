/** The files of a simulated host, in memory, with what the server has open. */
import type { World } from './world.js';

/** A file or directory. */
export interface HostFile {
  readonly kind: 'file' | 'directory';
  readonly number: number;
  content: string;
  mode: number;
  changed: number;
  sealed: boolean;
}

export function systemError(code: string, syscall: string, path = ''): NodeJS.ErrnoException {
  return Object.assign(new Error(`${code}: ${syscall} '${path}'`), { code, syscall, path });
}

/** An open file: the part of Node's FileHandle that the server uses. */
export class SimulatedHandle {
  #fd: number;
  readonly #close: () => void;

  constructor(
    private readonly world: World,
    readonly file: HostFile,
    readonly path: string,
    what: string,
  ) {
    this.#close = world.opened(what);
    this.#fd = world.files.register(this);
  }

  /** As Node's: -1 once it is closed. */
  get fd(): number {
    return this.#fd;
  }

  async close(): Promise<void> {
    const fd = this.#fd;
    if (fd === -1) return;
    this.#fd = -1;
    this.world.files.forget(fd);
    await this.world.hostWorks();
    this.#close();
  }

  async stat(): Promise<Record<string, unknown>> {
    this.#require('fstat');
    const { number, changed, content } = this.file;
    return {
      ...{ dev: 1n, ino: BigInt(number), size: BigInt(content.length) },
      ...{ mtimeNs: BigInt(changed), ctimeNs: BigInt(changed), uid: 0, gid: 0 },
    };
  }

  async write(bytes: Buffer, offset = 0, length = bytes.length): Promise<{ readonly bytesWritten: number }> {
    this.#require('write');
    await this.world.hostWorks();
    if (this.file.sealed) throw systemError('EPERM', 'write', this.path);
    if (this.world.happens('the host fails')) throw systemError('ENOSPC', 'write', this.path);
    this.file.content = bytes.toString('latin1', offset, offset + length);
    return { bytesWritten: length };
  }

  async truncate(): Promise<void> {
    this.#require('ftruncate');
    this.file.content = '';
  }

  #require(syscall: string): void {
    if (this.#fd === -1) throw systemError('EBADF', syscall, this.path);
  }
}

export class HostFiles {
  readonly #files = new Map<string, HostFile>();
  readonly #handles = new Map<number, SimulatedHandle>();
  #lastFd = 100;

  constructor(private readonly world: World) {}

  /** Number of open files. */
  get open(): number {
    return this.#handles.size;
  }

  register(handle: SimulatedHandle): number {
    this.#lastFd += 1;
    this.#handles.set(this.#lastFd, handle);
    return this.#lastFd;
  }

  forget(fd: number): void {
    this.#handles.delete(fd);
  }

  handle(fd: number): SimulatedHandle | undefined {
    return this.#handles.get(fd);
  }

  make(kind: HostFile['kind'], content = '', mode = 0o600): HostFile {
    return { kind, number: this.world.next(), content, mode, changed: Date.now(), sealed: false };
  }

  get(path: string): HostFile | undefined {
    return this.#files.get(path);
  }

  set(path: string, file: HostFile): void {
    this.#files.set(path, file);
  }

  /** Paths directly or indirectly in a directory. */
  below(path: string): string[] {
    return [...this.#files.keys()].filter((one) => one.startsWith(`${path}/`));
  }

  remove(path: string): void {
    for (const one of this.below(path)) this.#files.delete(one);
    this.#files.delete(path);
  }
}
