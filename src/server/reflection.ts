/**
 * Server reflection. A thread answers, which is started for the first request: it takes longer to read the descriptors
 * than to start everything else of a server, and most servers are never asked.
 */
import { Worker } from 'node:worker_threads';
import { status, type Server, type ServerDuplexStream, type ServiceDefinition } from '@grpc/grpc-js';
import { messageOf } from '../common/errors.js';
import type { ReflectionAnswer, ReflectionRequest } from './reflectionThread.js';

const PACKAGES = ['grpc.reflection.v1', 'grpc.reflection.v1alpha'];

/** Requests and answers are passed on as they are. */
function definitionOf(name: string): ServiceDefinition {
  const asIs = (message: Buffer): Buffer => message;
  return {
    ServerReflectionInfo: {
      path: `/${name}.ServerReflection/ServerReflectionInfo`,
      ...{ requestStream: true, responseStream: true },
      ...{ requestSerialize: asIs, requestDeserialize: asIs, responseSerialize: asIs, responseDeserialize: asIs },
    },
  };
}

/** The thread, and those who wait for its answers. */
class ReflectionThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, (answer: ReflectionAnswer) => void>();
  #last = 0;
  #failure: string | undefined;

  constructor(channelz: boolean) {
    this.#worker = new Worker(new URL('reflectionThread.js', import.meta.url), {
      ...{ workerData: channelz, env: {}, stdin: false },
    });
    // Nothing waits for it when the process ends.
    this.#worker.unref();
    this.#worker.on('message', ({ id, answer }: { id: number; answer: ReflectionAnswer }) => {
      this.#waiting.get(id)?.(answer);
      this.#waiting.delete(id);
    });
    this.#worker.once('error', (error) => this.#end(messageOf(error)));
    this.#worker.once('exit', () => this.#end('its thread ended'));
  }

  get failed(): boolean {
    return this.#failure !== undefined;
  }

  ask(request: Omit<ReflectionRequest, 'id'>): Promise<ReflectionAnswer> {
    return new Promise((resolve) => {
      if (this.#failure !== undefined) return resolve({ failure: this.#failure, code: status.UNAVAILABLE });
      this.#last += 1;
      this.#waiting.set(this.#last, resolve);
      this.#worker.postMessage({ id: this.#last, ...request } satisfies ReflectionRequest);
    });
  }

  #end(why: string): void {
    this.#failure ??= why;
    for (const answer of this.#waiting.values()) answer({ failure: this.#failure, code: status.UNAVAILABLE });
    this.#waiting.clear();
  }
}

/**
 * Adds grpc.reflection.v1 and v1alpha. They describe all services of the server, including health and themselves.
 * @param channelz whether the server offers Channelz
 */
export function addReflection(server: Pick<Server, 'addService'>, channelz: boolean): void {
  let thread: ReflectionThread | undefined;
  const answer = async (name: string, call: ServerDuplexStream<Buffer, Buffer>, request: Buffer): Promise<void> => {
    if (thread === undefined || thread.failed) thread = new ReflectionThread(channelz);
    const given = await thread.ask({ name, request });
    // The server may have ended it meanwhile.
    if (call.writableEnded) return;
    if ('failure' in given) {
      call.emit('error', { code: given.code, details: `server reflection failed: ${given.failure}` });
      return;
    }
    if (!call.write(Buffer.from(given.response))) await new Promise((resolve) => call.once('drain', resolve));
  };
  for (const name of PACKAGES)
    server.addService(definitionOf(name), {
      ServerReflectionInfo: (call: ServerDuplexStream<Buffer, Buffer>) => {
        let last = Promise.resolve();
        // One request at a time, and none before its client has taken the answers: the others wait on the connection.
        call.on('data', (request: Buffer) => {
          call.pause();
          last = answer(name, call, request).finally(() => call.resume());
        });
        call.on('end', () => void last.finally(() => call.end()));
      },
    });
}
