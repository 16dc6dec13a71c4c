/** What is in an image after a crash. */
import { spawnSync } from 'node:child_process';
import type { SessionClient } from '../support/testClient.js';
import type { FileSystem, ImageFormat } from './fileSystems.js';
import { DEVICE, mount } from './load.js';

/** Exit code of `qemu-img check` for clusters that are allocated but not used: a killed qemu may leave them. */
const LEAKED_CLUSTERS = 3;

/** What is wrong with an image file, before any session opens it again; undefined: nothing. */
export function imageFault(path: string, format: ImageFormat): string | undefined {
  if (format === 'raw') return undefined;
  const { status, stdout, stderr } = spawnSync('qemu-img', ['check', '-f', format, path], { encoding: 'utf8' });
  return status === 0 || status === LEAKED_CLUSTERS ? undefined : `qemu-img check: ${(stdout + stderr).trim()}`;
}

/** All files with the SHA-256 of their contents; every file is read. The file system must be mounted. */
export async function readFiles(session: SessionClient): Promise<Map<string, string>> {
  const sums = (await session.download('checksums_out', { csumtype: 'sha256', directory: '/' })).toString();
  // Without files, the daemon's xargs runs the program anyway, which then reads its own input.
  const lines = sums.split('\n').filter((line) => line !== '' && !line.endsWith('  -'));
  return new Map(
    lines.map((line) => {
      const match = /^([0-9a-f]{64}) {2}\.(\/.*)$/.exec(line);
      if (match?.[1] === undefined || match[2] === undefined) throw new Error(`not a checksum: ${line}`);
      return [match[2], match[1]] as const;
    }),
  );
}

/** The report of the file system's check if it is not clean; the file system must not be mounted. */
export async function fileSystemFault(session: SessionClient, { check }: FileSystem): Promise<string | undefined> {
  const script = `${check} ${DEVICE} 2>&1; echo "exit code $?"`;
  const report: string = await session.call('debug', { subcmd: 'sh', extraargs: [script] });
  return report.trimEnd().endsWith('exit code 0') ? undefined : `${check}: ${report.trim()}`;
}

/**
 * Mounts a file system, which replays its journal, reads everything, unmounts it and checks it: `e2fsck -n` and
 * `xfs_repair -n` would report as faults what a journal that was not replayed makes good.
 */
export async function examine(
  session: SessionClient,
  fileSystem: FileSystem,
): Promise<{ readonly files: Map<string, string>; readonly fault: string | undefined }> {
  await mount(session);
  const files = await readFiles(session);
  await session.call('umount_all');
  return { files, fault: await fileSystemFault(session, fileSystem) };
}
