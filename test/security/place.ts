/** Where escapes are tried: a directory of the client, and files outside that it must neither know nor change. */
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { run } from '../support/diskImages.js';

/** In the contents of every canary, and nowhere else. */
const MARK = 'what no client may learn';
/** Sizes that nothing else has. */
const RAW_SIZE = 2411 * 512;
const DISK_SIZE = 79_103 * 1024;
/** In the past, so that a file system that seldom records accesses (relatime) does record the next one. */
const LONG_AGO = new Date('2001-01-01');
/** Part of file names that a client without access to the directory cannot know. */
const NAME = 'canary';

/** Files that a client may use, and files that it may not. */
export class Place {
  /** The directory of the client's images. */
  readonly root: string;
  /** The directory of the canaries. */
  readonly outside: string;
  /** A raw file. */
  readonly raw: string;
  /** A disk image in a format. */
  readonly qcow2: string;
  /** A directory outside in which a file could be created. */
  readonly directory: string;
  readonly #before: string;
  readonly #hashes: string;

  constructor(root: string, outside: string) {
    this.root = root;
    this.outside = outside;
    this.raw = join(outside, `${NAME}.img`);
    this.qcow2 = join(outside, `${NAME}.qcow2`);
    this.directory = join(outside, 'directory');
    mkdirSync(this.directory);
    writeFileSync(this.raw, MARK.padEnd(RAW_SIZE, '.'));
    run('qemu-img', 'create', '-q', '-f', 'qcow2', this.qcow2, String(DISK_SIZE));
    run('qemu-io', '-f', 'qcow2', '-c', 'write -P 0x4d 0 64k', this.qcow2);
    // The modes of the files must not be what protects them.
    for (const path of [outside, this.directory]) chmodSync(path, 0o777);
    for (const path of [this.raw, this.qcow2]) chmodSync(path, 0o666);
    this.#hashes = this.#readAll();
    for (const path of [this.raw, this.qcow2]) utimesSync(path, LONG_AGO, new Date());
    this.#before = this.#look();
  }

  /** A path from the client's directory. */
  fromRoot(path: string): string {
    return relative(this.root, path);
  }

  /** Creates one of the client's own files. */
  own(name: string, contents: string | Buffer = `own ${name}`.padEnd(4096, '\0')): string {
    writeFileSync(join(this.root, name), contents);
    return name;
  }

  /** Describes what was read, written, created or removed outside since the start; empty: nothing. */
  touched(): string {
    const now = this.#look();
    return now === this.#before ? '' : `before:\n${this.#before}\nnow:\n${now}`;
  }

  /** Whether the contents have changed. This reads the files, which {@link touched} then reports. */
  changed(): boolean {
    return this.#readAll() !== this.#hashes;
  }

  /** The part of a canary that a text contains; undefined: none. */
  learnt(text: string): string | undefined {
    return [MARK, String(RAW_SIZE), String(DISK_SIZE), 'M'.repeat(512)].find((secret) => text.includes(secret));
  }

  #look(): string {
    const files = [this.outside, this.directory].map((path) => `${path}: ${readdirSync(path).sort().join(' ')}`);
    const stats = [this.raw, this.qcow2].map((path) => {
      const { ino, size, mtimeNs, ctimeNs, atimeNs, mode, uid } = statSync(path, { bigint: true });
      return `${path}: ${[ino, size, mtimeNs, ctimeNs, atimeNs, mode, uid].join(' ')}`;
    });
    return [...files, ...stats].join('\n');
  }

  #readAll(): string {
    return [this.raw, this.qcow2]
      .map((path) => createHash('sha256').update(readFileSync(path)).digest('hex'))
      .join(' ');
  }
}
