/**
 * Streams that end only when their clients want it, such as those that watch the health: a shutdown ends them instead
 * of waiting.
 */
import type { Server, ServiceDefinition, UntypedHandleCall, UntypedServiceImplementation } from '@grpc/grpc-js';

/** The part of a call with a stream of answers. */
interface Stream {
  once(event: 'cancelled' | 'finish', listener: () => void): void;
  end(): void;
}

/** A server for services with such streams. */
export class EndlessStreams implements Pick<Server, 'addService'> {
  readonly #server: Pick<Server, 'addService'>;
  readonly #open = new Set<Stream>();

  constructor(server: Pick<Server, 'addService'>) {
    this.#server = server;
  }

  /** Adds a service, whose streams {@link end} ends. */
  addService(service: ServiceDefinition, implementation: UntypedServiceImplementation): void {
    const handlers: UntypedServiceImplementation = { ...implementation };
    for (const [name, { responseStream, originalName = name }] of Object.entries(service)) {
      const key = name in handlers ? name : originalName;
      const handler = handlers[key];
      if (responseStream && handler !== undefined) handlers[key] = this.#following(handler);
    }
    this.#server.addService(service, handlers);
  }

  /** Ends all streams, with OK. */
  end(): void {
    for (const stream of this.#open) stream.end();
  }

  #following(handler: UntypedHandleCall): UntypedHandleCall {
    return (stream: Stream): void => {
      this.#open.add(stream);
      const ended = (): void => void this.#open.delete(stream);
      stream.once('cancelled', ended);
      stream.once('finish', ended);
      (handler as (call: Stream) => void)(stream);
    };
  }
}
