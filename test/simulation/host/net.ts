/** Sockets of a simulated host: those that a qemu connects to with the state of its machine. */
import { EventEmitter } from 'node:events';
import { systemError } from '../hostFiles.js';
import { world } from '../world.js';

export * from 'node:net';

const IN_DIRECTORY = /^\/proc\/self\/fd\/(\d+)\/(.*)$/;

class SimulatedServer extends EventEmitter {
  #closed: (() => void) | undefined;
  #path: string | undefined;

  listen(path: string, listening: () => void): this {
    void this.#listen(path).then(listening, (error: unknown) => this.emit('error', error));
    return this;
  }

  async #listen(path: string): Promise<void> {
    await world().hostWorks();
    const [, fd, name] = IN_DIRECTORY.exec(path) ?? [];
    const directory = world().files.handle(Number(fd))?.path;
    if (directory === undefined || world().happens('the host fails')) throw systemError('EADDRINUSE', 'listen', path);
    this.#path = `${directory}/${name}`;
    this.#closed = world().opened('listening socket');
    world().sockets.set(this.#path, (stream) => this.emit('connection', stream));
  }

  close(): this {
    if (this.#path !== undefined) world().sockets.delete(this.#path);
    this.#closed?.();
    return this;
  }
}

export function createServer(): SimulatedServer {
  return new SimulatedServer();
}
