/** A temporary directory that is removed afterwards. */
import { chmod, mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export class Workspace {
  private constructor(readonly directory: string) {}

  static async create(prefix: string): Promise<Workspace> {
    const directory = await mkdtemp(join(await realpath(tmpdir()), prefix));
    // A server that runs as root drops its privileges for some of its work on images.
    await chmod(directory, 0o755);
    return new Workspace(directory);
  }

  path(...names: string[]): string {
    return join(this.directory, ...names);
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true });
  }
}
