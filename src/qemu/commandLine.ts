/**
 * Builds the command line of one qemu together with the files that are passed to it.
 *
 * Descriptors are numbered here, so that arguments can refer to them: first the
 * channels, then the files in the order in which they are added.
 */
import type { FileHandle } from 'node:fs/promises';
import type { FdSets, OpenSocket } from './fdSets.js';

/** Descriptors of the socket pairs between the server and qemu. */
export const CHANNEL_FDS = {
  /** virtio-serial: the daemon. */
  daemon: 3,
  /** QMP. */
  monitor: 4,
  /** The appliance's serial console. */
  console: 5,
  /** A second monitor, for files that are passed later. */
  files: 6,
} as const;

const FIRST_FILE_FD = 7;

/** A command ready to be started. */
export interface QemuCommand {
  readonly binary: string;
  readonly args: readonly string[];
  /** The server's descriptors that become 7, 8, ... */
  readonly fds: readonly number[];
  /** Those of its descriptors that it opens again, by their path. */
  readonly reopened: readonly number[];
}

/** Value of a device property. */
export type PropertyValue = string | number | boolean;

export class QemuCommandLine implements FdSets {
  readonly #args: string[] = [];
  readonly #fds: number[] = [];
  readonly #reopened: number[] = [];

  constructor(private readonly binary: string) {}

  /** Adds `-name value`, or `-name` alone. */
  option(name: string, value?: string): this {
    this.#args.push(`-${name}`, ...(value === undefined ? [] : [value]));
    return this;
  }

  /** Adds `-name first,key=value,...`; commas in values are doubled, undefined ones left out. */
  properties(name: string, first: string, values: Readonly<Record<string, PropertyValue | undefined>> = {}): this {
    return this.option(name, formatProperties(first, values));
  }

  /** Adds `-device driver,...`. */
  device(driver: string, values: Readonly<Record<string, PropertyValue | undefined>> = {}): this {
    return this.properties('device', driver, values);
  }

  /** Adds a block node. */
  blockNode(node: Readonly<Record<string, unknown>>): this {
    return this.option('blockdev', JSON.stringify(node));
  }

  add(file: FileHandle): string {
    const fd = this.#give(file);
    // The set has the number of its descriptor, which makes command lines easier to read.
    this.option('add-fd', `fd=${fd},set=${fd}`);
    return `/dev/fdset/${fd}`;
  }

  connect(socket: OpenSocket): string {
    return String(this.#give(socket));
  }

  /**
   * Adds a file for options that open a plain path and do not support fd sets, such as
   * `-kernel`. Opening it in this way requires permission on the file itself.
   */
  addPlainFile(file: FileHandle): string {
    const fd = this.#give(file);
    this.#reopened.push(fd);
    return `/proc/self/fd/${fd}`;
  }

  /** Adds an open file for options that take the number of a descriptor. */
  addDescriptor(file: { readonly fd: number }): number {
    return this.#give(file);
  }

  build(): QemuCommand {
    return { binary: this.binary, args: [...this.#args], fds: [...this.#fds], reopened: [...this.#reopened] };
  }

  #give(file: { readonly fd: number }): number {
    return FIRST_FILE_FD + this.#fds.push(file.fd) - 1;
  }
}

/** A command as it would be typed in a shell, for display. */
export function shellCommand(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

/** `first,key=value,...` in the syntax of qemu's option parser. */
export function formatProperties(first: string, values: Readonly<Record<string, PropertyValue | undefined>>): string {
  const parts = Object.entries(values).flatMap(([key, value]) => {
    if (value === undefined) return [];
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    return [`${key}=${text.replaceAll(',', ',,')}`];
  });
  return [first, ...parts].join(',');
}
