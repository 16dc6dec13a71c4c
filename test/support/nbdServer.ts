/**
 * A small NBD server for tests that observe what a client does to a disk: fixed newstyle negotiation without TLS, simple
 * replies, one export under any name. Requests are executed one at a time in the order in which they arrive.
 */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

/** A disk that is served. All lengths and offsets are within its size. */
export interface ServedDisk {
  readonly size: number;
  read(offset: number, length: number): Buffer;
  /** @param durably the write has to outlive a loss of power before it is answered (FUA) */
  write(offset: number, data: Buffer, durably: boolean): void;
  /** Makes all earlier writes outlive a loss of power. */
  flush(): void;
}

/** A server that accepts connections. */
export interface NbdServer {
  /** Host and port. */
  readonly address: string;
  stop(): Promise<void>;
}

const INIT_MAGIC = Buffer.from('NBDMAGICIHAVEOPT');
const FIXED_NEWSTYLE = 1;
const NO_ZEROES = 2;
const OPTION_REPLY_MAGIC = 0x0003e889045565a9n;
const OPTION = { exportName: 1, abort: 2, info: 6, go: 7 };
const REPLY = { ack: 1, info: 3, unsupported: 0x80000001 };
const INFO_EXPORT = 0;
const INFO_BLOCK_SIZE = 3;
/** HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM and SEND_WRITE_ZEROES. */
const EXPORT_FLAGS = 0x01 | 0x04 | 0x08 | 0x20 | 0x40;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const REQUEST_BYTES = 28;
const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, writeZeroes: 6 };
const FUA = 1;
const EINVAL = 22;
/** What is written at a time is at least one of these. */
const SECTOR_BYTES = 512;
const PREFERRED_BYTES = 4096;
const MAX_BYTES = 32 << 20;

/** Serves a disk on a free port of this host. */
export async function serveNbd(disk: ServedDisk): Promise<NbdServer> {
  const sockets = new Set<Socket>();
  const listener = createServer((socket) => {
    sockets.add(socket);
    socket.setNoDelay();
    socket.on('error', () => undefined); // a killed qemu: its connection is reset
    socket.on('close', () => sockets.delete(socket));
    serve(socket, disk).catch(() => socket.destroy());
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  return {
    address: `127.0.0.1:${(listener.address() as AddressInfo).port}`,
    stop: async () => {
      listener.close();
      for (const socket of sockets) socket.destroy();
      await once(listener, 'close');
    },
  };
}

/** Exactly so many bytes of a connection at a time. */
class Reader {
  readonly #source: AsyncIterator<Buffer>;
  #chunks: Buffer[] = [];
  #length = 0;

  constructor(socket: Socket) {
    this.#source = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** @throws Error at the end of the connection */
  async take(length: number): Promise<Buffer> {
    while (this.#length < length) {
      const { done, value } = await this.#source.next();
      if (done === true) throw new Error('the connection has ended');
      this.#chunks.push(value);
      this.#length += value.length;
    }
    const all = this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks);
    this.#chunks = all.length === length ? [] : [all.subarray(length)];
    this.#length = all.length - length;
    return all.subarray(0, length);
  }
}

async function serve(socket: Socket, disk: ServedDisk): Promise<void> {
  const reader = new Reader(socket);
  if (!(await negotiate(socket, reader, disk))) {
    socket.end();
    return;
  }
  for (;;) {
    const request = await reader.take(REQUEST_BYTES);
    if (request.readUInt32BE(0) !== REQUEST_MAGIC) throw new Error('not a request');
    const [flags, command] = [request.readUInt16BE(4), request.readUInt16BE(6)];
    const [offset, length] = [Number(request.readBigUInt64BE(16)), request.readUInt32BE(24)];
    if (command === COMMAND.disconnect) {
      socket.end();
      return;
    }
    const data = command === COMMAND.write ? Buffer.from(await reader.take(length)) : undefined;
    const answer = execute(disk, command, { offset, length, data, durably: (flags & FUA) !== 0 });
    const reply = Buffer.alloc(16);
    reply.writeUInt32BE(SIMPLE_REPLY_MAGIC, 0);
    reply.writeUInt32BE(answer === undefined ? EINVAL : 0, 4);
    request.copy(reply, 8, 8, 16);
    socket.write(answer === undefined ? reply : Buffer.concat([reply, answer]));
  }
}

interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer | undefined;
  readonly durably: boolean;
}

/** The data of the answer; undefined: the request is invalid. */
function execute(disk: ServedDisk, command: number, { offset, length, data, durably }: Extent): Buffer | undefined {
  const nothing = Buffer.alloc(0);
  if (command === COMMAND.flush) {
    disk.flush();
    return nothing;
  }
  if (offset + length > disk.size) return undefined;
  switch (command) {
    case COMMAND.read:
      return disk.read(offset, length);
    case COMMAND.write:
      disk.write(offset, data ?? nothing, durably);
      return nothing;
    case COMMAND.writeZeroes:
      disk.write(offset, Buffer.alloc(length), durably);
      return nothing;
    case COMMAND.trim:
      return nothing; // a hint, which may be ignored
    default:
      return undefined;
  }
}

/** Agrees on the export; false if the client wants none. */
async function negotiate(socket: Socket, reader: Reader, disk: ServedDisk): Promise<boolean> {
  const flags = Buffer.alloc(2);
  flags.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES);
  socket.write(Buffer.concat([INIT_MAGIC, flags]));
  const noZeroes = ((await reader.take(4)).readUInt32BE() & NO_ZEROES) !== 0;
  for (;;) {
    const header = await reader.take(16);
    const option = header.readUInt32BE(8);
    await reader.take(header.readUInt32BE(12));
    const reply = (type: number, data: Buffer = Buffer.alloc(0)): void => {
      const head = Buffer.alloc(20);
      head.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
      head.writeUInt32BE(option, 8);
      head.writeUInt32BE(type, 12);
      head.writeUInt32BE(data.length, 16);
      socket.write(Buffer.concat([head, data]));
    };
    switch (option) {
      case OPTION.exportName:
        socket.write(Buffer.concat([exportOf(disk), Buffer.alloc(noZeroes ? 0 : 124)]));
        return true;
      case OPTION.info:
      case OPTION.go:
        reply(REPLY.info, Buffer.concat([sixteenBits(INFO_EXPORT), exportOf(disk)]));
        reply(REPLY.info, blockSizes());
        reply(REPLY.ack);
        if (option === OPTION.go) return true;
        break;
      case OPTION.abort:
        reply(REPLY.ack);
        return false;
      default:
        reply(REPLY.unsupported);
    }
  }
}

function sixteenBits(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function exportOf({ size }: ServedDisk): Buffer {
  const bytes = Buffer.alloc(10);
  bytes.writeBigUInt64BE(BigInt(size), 0);
  bytes.writeUInt16BE(EXPORT_FLAGS, 8);
  return bytes;
}

function blockSizes(): Buffer {
  const bytes = Buffer.alloc(14);
  bytes.writeUInt16BE(INFO_BLOCK_SIZE, 0);
  bytes.writeUInt32BE(SECTOR_BYTES, 2);
  bytes.writeUInt32BE(PREFERRED_BYTES, 6);
  bytes.writeUInt32BE(MAX_BYTES, 10);
  return bytes;
}
