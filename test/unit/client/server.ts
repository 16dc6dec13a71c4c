/** A gRPC server with a few handlers, and a client for it. */
import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';
import { connect, type ConnectOptions, type GuestfsClient } from '../../../clients/typescript/src/index.js';

export interface Served {
  readonly address: string;
  readonly client: GuestfsClient;
  close(): void;
}

/** Serves any handlers of each service; the others answer UNIMPLEMENTED. */
export async function serve(
  services: readonly (readonly [ServiceDefinition, UntypedServiceImplementation])[],
  options?: ConnectOptions,
): Promise<Served> {
  const server = new Server();
  for (const [service, handlers] of services) server.addService(service, handlers);
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    ),
  );
  const address = `127.0.0.1:${port}`;
  const client = connect(address, options);
  return {
    address,
    client,
    close: () => {
      client.close();
      server.forceShutdown();
    },
  };
}
