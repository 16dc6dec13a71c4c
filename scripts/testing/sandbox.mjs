/**
 * A temporary directory of its own for the tests that start real machines, by which what
 * they leave behind is told from everything else on the system.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A process that is still there.
 * @typedef {{ pid: number, command: string }} LeftProcess
 */

export class Sandbox {
  /** The directory; short, because sockets are made in it. */
  directory;

  constructor() {
    this.directory = mkdtempSync(join(realpathSync(tmpdir()), 'gg-'));
    // As /tmp is: a server that is root starts qemu as somebody else.
    chmodSync(this.directory, 0o1777);
  }

  /** Environment for the tests; what is slow to make, such as supermin's appliance, is kept elsewhere. */
  get env() {
    return { TMPDIR: this.directory, LIBGUESTFS_CACHEDIR: process.env.LIBGUESTFS_CACHEDIR ?? '/var/tmp' };
  }

  /**
   * Processes that were started in the sandbox: by their environment, their arguments or
   * their working directory.
   * @returns {LeftProcess[]}
   */
  processes() {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((name) => {
        const command = read(`/proc/${name}/cmdline`).replaceAll('\0', ' ').trim();
        const traces = [command, read(`/proc/${name}/environ`), workingDirectory(name)];
        return traces.some((trace) => trace.includes(this.directory))
          ? [{ pid: Number(name), command: command || read(`/proc/${name}/comm`).trim() }]
          : [];
      });
  }

  /** Names of what lies in the directory. */
  files() {
    return readdirSync(this.directory);
  }

  /** Ends what still runs and removes the directory. */
  remove() {
    for (const { pid } of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It ended by itself meanwhile.
      }
    }
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** @param {string} path */
function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** @param {string} pid */
function workingDirectory(pid) {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}
