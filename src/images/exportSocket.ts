/** Sockets between a qemu and the process that provides the bytes of its remote drive. */
import { open, rename, type FileHandle } from 'node:fs/promises';
import { createConnection, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { descriptorOf } from '../common/subprocess.js';

/** A connected socket, to be inherited by a qemu. */
export interface ExportSocket {
  readonly fd: number;
  /** Closes the server's copy. */
  close(): void;
}

/** A listening socket, to be inherited by the process that is to accept its connections. */
export interface ListeningSocket {
  readonly fd: number;
  /** Gives it up once that process has it; until then, nobody may connect. */
  handOver(): Promise<void>;
  /** Makes a connection. */
  connect(): Promise<ExportSocket>;
  /** Closes everything. Can be called twice. */
  close(): Promise<void>;
}

/** The name that Node.js removes when it closes its copy, and the one by which connections are made. */
const NAMES = ['socket.new', 'socket'] as const;

/**
 * Creates a listening socket in a directory that only the server's user can write to. The path of the directory may be
 * longer than that of a socket can be, so it is used by descriptor.
 */
export async function listenIn(directory: string): Promise<ListeningSocket> {
  const handle = await open(directory, 'r');
  const server = createServer();
  try {
    await listen(server, pathIn(handle, NAMES[0]));
    await rename(join(directory, NAMES[0]), join(directory, NAMES[1]));
  } catch (error) {
    server.close();
    await handle.close();
    throw error;
  }
  let handedOver: Promise<void> | undefined;
  const handOver = (): Promise<void> =>
    (handedOver ??= new Promise((resolve) => {
      server.close(() => resolve());
    }));
  let closing: Promise<unknown> | undefined;
  return {
    fd: (server as unknown as { readonly _handle: { readonly fd: number } })._handle.fd,
    handOver,
    connect: () => connectTo(pathIn(handle, NAMES[1])),
    close: async () => {
      await (closing ??= Promise.all([handOver(), handle.close()]));
    },
  };
}

function pathIn({ fd }: FileHandle, name: string): string {
  return `/proc/self/fd/${fd}/${name}`;
}

async function listen(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  server.unref();
}

async function connectTo(path: string): Promise<ExportSocket> {
  const socket = createConnection({ path });
  // The greeting is for qemu.
  socket.pause();
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve).once('error', reject);
  });
  socket.on('error', () => undefined);
  return { fd: descriptorOf(socket), close: () => void socket.destroy() };
}
