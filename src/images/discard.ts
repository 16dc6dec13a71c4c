/**
 * Discards the content of a block device through its open descriptor, as blkdiscard(8) does by name: Node.js has no
 * ioctl. The process has no rights on any file, and no device but this one.
 */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { ISOLATED_PYTHON } from '../common/python.js';
import { runJailed } from '../jail/jail.js';
import type { JailLimits } from '../jail/jailArguments.js';
import { findProgram } from '../jail/programFiles.js';

/** BLKDISCARD (linux/fs.h), for the whole device. */
const PROGRAM = `
import fcntl, os, struct
fcntl.ioctl(3, 0x1277, struct.pack("=QQ", 0, os.lseek(3, 0, os.SEEK_END)))
`;
/** Unprivileged user, if the server is root. */
const NOBODY = 65534;
const LIMITS: JailLimits = { addressSpace: 1 << 29, openFiles: 64, fileSize: 0 };
/** Some devices overwrite what they discard. */
const WALL_CLOCK_MS = 3_600_000;
const MESSAGES_LIMIT = 4096;

/**
 * Discards everything. As in the library, a device that does not support that, or is in use, is left unchanged.
 * @throws the reason of the signal
 */
export async function discardAll(device: FileHandle, signal: AbortSignal): Promise<void> {
  // Exclusively: the kernel refuses that for a device with a mounted file system.
  const exclusive = await open(`/proc/self/fd/${device.fd}`, constants.O_RDWR | constants.O_EXCL).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'EBUSY') return undefined;
      throw error;
    },
  );
  if (exclusive === undefined) return;
  try {
    const [python = '', ...isolated] = ISOLATED_PYTHON;
    await runJailed(
      {
        program: await findProgram(python, 'python'),
        args: [...isolated, '-c', PROGRAM],
        user: process.geteuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : undefined,
        limits: LIMITS,
      },
      { fds: [exclusive.fd], timeoutMs: WALL_CLOCK_MS, maxOutputBytes: MESSAGES_LIMIT, signal },
    );
  } finally {
    await exclusive.close();
  }
}
