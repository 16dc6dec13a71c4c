/** Memory files of a simulated host. */
import type { FileHandle } from 'node:fs/promises';
import type * as real from '../../../src/common/memoryFile.js';
import { SimulatedHandle, systemError } from '../hostFiles.js';
import { world } from '../world.js';

function fileOf(handle: FileHandle): SimulatedHandle {
  return handle as unknown as SimulatedHandle;
}

async function works(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await world().hostWorks();
  signal.throwIfAborted();
  if (world().happens('the host fails')) throw systemError('ENOMEM', 'memfd_create');
}

function make(content: string): SimulatedHandle {
  return new SimulatedHandle(world(), world().files.make('file', content), '/memfd', 'descriptor of memory file');
}

export const createMemoryFile: typeof real.createMemoryFile = async (_size, signal) => {
  await works(signal);
  return make('') as unknown as FileHandle;
};

export const loadMemoryFile: typeof real.loadMemoryFile = async (source, signal) => {
  await works(signal);
  const { content } = fileOf(source).file;
  const loaded = make(content);
  loaded.file.sealed = true;
  return { file: loaded as unknown as FileHandle, digest: `digest of ${content}` };
};

export const sealMemoryFiles: typeof real.sealMemoryFiles = async (files, signal) => {
  await works(signal);
  for (const one of files) {
    if (one.fd === -1) world().violate('a memory file is sealed after it was closed');
    fileOf(one).file.sealed = true;
  }
};

export const keepMemoryFile: typeof real.keepMemoryFile = async (source, target, signal) => {
  if (source.fd === -1) world().violate('a memory file is stored after it was closed');
  await works(signal);
  const { content } = fileOf(source).file;
  fileOf(target).file.content = content;
  return `digest of ${content}`;
};

// Only the bytes on the disk differ.
export const packMemoryFile: typeof real.packMemoryFile = keepMemoryFile;
export const unpackMemoryFile: typeof real.unpackMemoryFile = loadMemoryFile;
