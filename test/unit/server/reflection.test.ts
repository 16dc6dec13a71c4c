/** Server reflection over a connection. What it says of the services is in integration/service.test.ts. */
import { once } from 'node:events';
import { connect } from 'node:http2';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  credentials,
  makeGenericClientConstructor,
  status,
  type Client,
  type ClientDuplexStream,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { afterEach, beforeEach, expect, it, jest } from '@jest/globals';
import { openCall } from '../../support/openCall.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';

jest.setTimeout(60_000);

const FILE = 'node_modules/@grpc/reflection/build/proto/grpc/reflection/v1/reflection.proto';
const MEBIBYTE = 1 << 20;
const LARGE = { file_containing_symbol: 'guestfs.v1.SessionService' };

type Answer = Readonly<Record<string, object>>;
type Requests = ClientDuplexStream<object, Answer>;
const definition = loadSync(FILE, { keepCase: true })['grpc.reflection.v1.ServerReflection'] as ServiceDefinition;

let served: ServedSession;
const clients: Client[] = [];
beforeEach(async () => {
  served = await servedSession();
});
afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  await served.stop();
});

function open(service = definition): Requests {
  const client = new (makeGenericClientConstructor(service, 'ServerReflection'))(
    served.server.address,
    credentials.createInsecure(),
  );
  clients.push(client);
  return (client as unknown as { ServerReflectionInfo(): Requests }).ServerReflectionInfo();
}

async function read(stream: Requests): Promise<Answer[]> {
  const answers: Answer[] = [];
  for await (const answer of stream) answers.push(answer as Answer);
  return answers;
}

it('answers the requests of a stream one after the other', async () => {
  const stream = open();
  for (const symbol of ['guestfs.v1.SessionService', 'guestfs.v1.None', 'google.rpc.ErrorInfo'])
    stream.write({ file_containing_symbol: symbol });
  stream.end({ list_services: '*' });
  const answers = await read(stream);
  expect(answers.map((answer) => Object.keys(answer).at(-1))).toEqual([
    'file_descriptor_response',
    'error_response',
    'file_descriptor_response',
    'list_services_response',
  ]);
  expect(answers[1]).toMatchObject({ original_request: { file_containing_symbol: 'guestfs.v1.None' } });
});

it('refuses what is no request, and goes on', async () => {
  const { ServerReflectionInfo: method } = definition;
  const raw = { ServerReflectionInfo: { ...method, requestSerialize: (bytes: Buffer) => bytes } } as ServiceDefinition;
  const stream = open(raw);
  stream.end(Buffer.from([0xff, 0xff]));
  await expect(read(stream)).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining('the request cannot be decoded'),
  });
  const next = open();
  next.end({ list_services: '*' });
  expect(await read(next)).toHaveLength(1);
});

it('keeps no answers for a client that reads none', async () => {
  const request = definition['ServerReflectionInfo']?.requestSerialize(LARGE) ?? Buffer.alloc(0);
  const frame = Buffer.concat([Buffer.from([0, 0, 0, 0, request.length]), request]);
  const session = connect(`http://${served.server.address}`);
  const call = openCall(session, '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo');
  call.pause();
  await new Promise<void>((resolve) => call.write(frame, () => resolve()));
  await once(call, 'response');
  const used = (): number => process.memoryUsage().arrayBuffers;
  const before = used();
  // Their answers are of about 200 MiB.
  call.write(Buffer.concat(Array.from({ length: 6000 }, () => frame)));
  for (let round = 0; round < 20; round += 1) {
    await sleep(100);
    expect(used() - before).toBeLessThan(50 * MEBIBYTE);
  }
  session.destroy();
});
