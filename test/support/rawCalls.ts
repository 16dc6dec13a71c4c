/** Calls whose bytes the test makes itself. */
import type { Client, Metadata } from '@grpc/grpc-js';
import { asFailure } from './testClient.js';

const same = (bytes: Buffer): Buffer => bytes;

/** A unary call; the response's bytes. */
export function rawUnary(client: Client, path: string, request: Buffer, metadata: Metadata): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(path, same, same, request, metadata, (error, response) =>
      error ? reject(asFailure(error)) : resolve(response ?? Buffer.alloc(0)),
    );
  });
}

/** A call with a stream of messages in each direction, of which the first answer is enough. */
export function rawStream(client: Client, path: string, request: Buffer, metadata: Metadata): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const call = client.makeBidiStreamRequest(path, same, same, metadata);
    call.on('data', (response: Buffer) => {
      resolve(response);
      call.cancel();
    });
    call.on('error', (error) => reject(asFailure(error)));
    call.on('end', () => reject(new Error('no answer')));
    call.write(request);
  });
}
