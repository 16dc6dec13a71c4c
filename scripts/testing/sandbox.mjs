/**
 * A separate temporary directory for the tests that boot appliances. It distinguishes what they leave behind from
 * everything else on the host.
 */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * A process that is still running.
 * @typedef {{ pid: number, command: string }} LeftProcess
 */

export class Sandbox {
  /** The directory; its path is short, because it will contain sockets. */
  directory;

  constructor() {
    this.directory = mkdtempSync(join(realpathSync(tmpdir()), 'gg-'));
    // Like /tmp, because a server that runs as root starts qemu as another user.
    chmodSync(this.directory, 0o1777);
  }

  /** Environment for the tests; files that are slow to make, such as supermin's appliance, are cached elsewhere. */
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

  /** Names of the files in the directory. */
  files() {
    return readdirSync(this.directory);
  }

  /** Kills what is still running, and removes the directory. */
  remove() {
    for (const { pid } of this.processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // It has exited meanwhile.
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
