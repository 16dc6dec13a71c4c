/** A relay between HTTP/2 clients and a server that controls which frames of a client arrive together. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const PREFACE_SIZE = 24;
const HEADER_SIZE = 9;

export interface FrameRelay {
  /** Where clients connect to. */
  readonly address: string;
  close(): Promise<void>;
}

/** Splits the bytes of an HTTP/2 client into the preface and frames. */
class FrameCutter {
  #rest = Buffer.alloc(0);
  #begun = false;

  cut(bytes: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    const frames: Buffer[] = [];
    for (;;) {
      const size = this.#begun
        ? this.#rest.length < HEADER_SIZE
          ? Infinity
          : HEADER_SIZE + this.#rest.readUIntBE(0, 3)
        : PREFACE_SIZE;
      if (this.#rest.length < size) return frames;
      this.#begun = true;
      frames.push(this.#rest.subarray(0, size));
      this.#rest = this.#rest.subarray(size);
    }
  }
}

/**
 * @param timing `apart`: each frame arrives separately, `gapMs` after the previous one; `together`: what
 *   a client sends within `gapMs` arrives in one piece
 */
export async function frameRelay(address: string, timing: 'apart' | 'together', gapMs: number): Promise<FrameRelay> {
  const [host = '', port = ''] = address.split(/:(?=\d+$)/);
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const upstream = connect(Number(port), host);
    const cutter = new FrameCutter();
    let waiting: Buffer[] = [];
    let passing = false;
    const passOn = async (): Promise<void> => {
      if (passing) return;
      passing = true;
      while (waiting.length > 0) {
        await delay(gapMs);
        upstream.write(Buffer.concat(timing === 'apart' ? waiting.splice(0, 1) : waiting.splice(0)));
      }
      passing = false;
    };
    client.on('data', (bytes: Buffer) => {
      waiting.push(...cutter.cut(bytes));
      void passOn();
    });
    upstream.on('data', (bytes: Buffer) => client.write(bytes));
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay();
      socket.on('error', () => undefined);
      socket.on('close', () => {
        waiting = [];
        client.destroy();
        upstream.destroy();
      });
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
