/** Calls with bytes and metadata that the test composes itself. */
import { Metadata } from '@grpc/grpc-js';
import { Calls, type ClientStreamMethod, type UnaryMethod } from '../../clients/typescript/src/index.js';
import type { TestClient } from './testClient.js';

const same = (bytes: Buffer): Buffer => bytes;

/** A unary call; the response's bytes. */
export function rawUnary(
  { channel }: Pick<TestClient, 'channel'>,
  path: string,
  request: Buffer,
  metadata = new Metadata(),
): Promise<Buffer> {
  const method: UnaryMethod<Buffer, Buffer> = {
    path,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    responseDeserialize: same,
  };
  return new Calls(channel, metadata).call(method, request);
}

/** A client-streaming call that sends one message, and waits for the answer. */
export function rawUpload(
  { channel }: Pick<TestClient, 'channel'>,
  path: string,
  message: Buffer,
  metadata = new Metadata(),
): Promise<Buffer> {
  const method: ClientStreamMethod<Buffer, Buffer> = {
    path,
    requestStream: true,
    responseStream: false,
    requestSerialize: same,
    responseDeserialize: same,
  };
  const { stream, answer } = new Calls(channel, metadata).openUpload(method);
  stream.write(message);
  return answer;
}
