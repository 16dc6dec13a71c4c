/** Causes an unhandled error of the kind in its argument, twice, and prints a line whenever the server would drain. */
import { EventEmitter } from 'node:events';
import { readFile } from 'node:fs';
import { connect, createServer } from 'node:net';
import { Readable } from 'node:stream';
import { drainOnUnhandled } from '../../src/cli/lastResort.js';
import { silentLogger } from '../../src/common/logger.js';
import { onAbort } from '../../src/common/waiting.js';

function fail(): never {
  throw new Error('nobody handles this');
}

const INJECTIONS: Readonly<Record<string, () => void>> = {
  timeout: () => void setTimeout(fail, 1),
  interval: () => {
    const timer = setInterval(() => {
      clearInterval(timer);
      fail();
    }, 1);
  },
  immediate: () => void setImmediate(fail),
  nextTick: () => process.nextTick(fail),
  microtask: () => queueMicrotask(fail),
  rejection: () => void Promise.reject(new Error('nobody handles this')),
  async: () => void (async () => fail())(),
  emitter: () => void setImmediate(() => new EventEmitter().emit('error', new Error('nobody handles this'))),
  stream: () => void new Readable({ read: () => undefined }).destroy(new Error('nobody handles this')),
  file: () => readFile('/dev/null', fail),
  abort: () => {
    const controller = new AbortController();
    onAbort(controller.signal, fail);
    controller.abort();
  },
  socket: () => void connect('/no/such/socket'),
  connection: () => {
    const server = createServer((socket) => {
      server.close();
      socket.destroy();
      fail();
    });
    server.listen(0, '127.0.0.1', () => void connect((server.address() as { port: number }).port, '127.0.0.1'));
  },
  signal: () => {
    process.once('SIGUSR2', fail);
    process.kill(process.pid, 'SIGUSR2');
  },
};

drainOnUnhandled(silentLogger, () => {
  process.stdout.write('ending\n');
  // A drain takes a while, too.
  setTimeout(() => process.exit(1), 100);
});
const inject = INJECTIONS[process.argv[2] ?? ''];
if (inject === undefined) process.stdout.write(`${Object.keys(INJECTIONS).join(' ')}\n`);
else {
  inject();
  setTimeout(inject, 20);
  // Nothing else keeps the process running.
  setTimeout(() => process.exit(0), 5000);
}
