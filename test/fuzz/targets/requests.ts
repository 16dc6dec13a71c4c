/** The requests of clients: gRPC's framing of messages, the decoder of every RPC, and the checks common to all RPCs. */
import type { MethodDefinition, ServiceDefinition } from '@grpc/grpc-js';
import { EventServiceService } from '../../../gen/proto/guestfs/v1/event.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { services } from '../../../gen/services.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { checkArguments } from '../../../src/server/checkArguments.js';
import { decodingSafely, Undecodable } from '../../../src/server/decoding.js';
import { RequestMemory } from '../../../src/server/requestMemory.js';
import { RequestReader } from '../../../src/server/requestReader.js';
import { rpcAt } from '../../../src/server/rpcNames.js';
import { ensure, turn, unlessRefused, type Target } from '../engine/target.js';
import { cut } from './pieces.js';

type Method = MethodDefinition<object, object>;

const LARGEST = 1 << 20;
/** Bit in the first byte of an input: the rest is a stream of messages for one RPC, not a single message. */
const STREAM = 0x80;

const all: readonly ServiceDefinition[] = [...Object.values(services), SessionServiceService, EventServiceService];
const methods = all.flatMap((service) => Object.values(decodingSafely(service)) as Method[]);

function checkMessage(method: Method, bytes: Buffer): void {
  const request = turn(() => method.requestDeserialize(bytes));
  if (request instanceof Undecodable) {
    ensure(request.error instanceof GuestfsError, 'a request is refused with an unexpected error');
    return;
  }
  const action = rpcAt(method.path)?.action;
  if (action !== undefined) unlessRefused([GuestfsError], () => turn(() => checkArguments(action, request)));
  const encoded = method.requestSerialize(request);
  const again = method.requestDeserialize(encoded);
  ensure(!(again instanceof Undecodable), 'a decoded request cannot be encoded and decoded again');
  ensure(method.requestSerialize(again).equals(encoded), 'a request changes when it is encoded again');
}

/** Messages with their headers, as gRPC frames them. */
function checkStream(method: Method, pieces: readonly Buffer[]): void {
  const memory = new RequestMemory(LARGEST);
  const reader = new RequestReader({
    action: 'fuzzed',
    client: () => 'client',
    largest: LARGEST,
    memory,
    ordinary: LARGEST / 2,
    largeMemory: memory,
    admit: () => undefined,
    stallMs: 1000,
    onStall: () => undefined,
  });
  try {
    unlessRefused([GuestfsError], () => {
      for (const piece of pieces)
        for (const message of reader.write(piece)) {
          ensure(
            message.length >= 5 && message.length === 5 + message.readUInt32BE(1),
            'a message has the wrong length',
          );
          checkMessage(method, message.subarray(5));
        }
    });
  } finally {
    reader.close();
  }
  ensure(memory.freeFor('client') === LARGEST, 'memory is not released');
}

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

function pick(index: number, stream: boolean, rest: Buffer): Buffer {
  return Buffer.concat([Buffer.of((index >> 8) | (stream ? STREAM : 0), index & 0xff), rest]);
}

/** Any field with any wire type that messages use. */
const FIELDS = Buffer.from([0x0a, 1, 97, 0x12, 1, 97, 0x18, 1, 0x20, 1, 0x2a, 2, 0x0a, 0]);

export const requests: Target = {
  name: 'requests',
  about: 'the framing and decoding of the requests of every RPC',
  longest: 1024,
  stretched: LARGEST,
  seeds: () =>
    methods.flatMap((method, index) => {
      const empty = pick(index, false, Buffer.alloc(0));
      const request = method.requestDeserialize(FIELDS);
      if (index % 16 === 0) return [empty, pick(index, true, Buffer.concat([Buffer.of(2), framed(FIELDS)]))];
      return request instanceof Undecodable ? [empty] : [empty, pick(index, false, FIELDS)];
    }),
  run(input) {
    const first = input[0] ?? 0;
    const method = methods[(((first & ~STREAM) << 8) | (input[1] ?? 0)) % methods.length] as Method;
    const rest = input.subarray(2);
    if ((first & STREAM) === 0) checkMessage(method, rest);
    else checkStream(method, cut(rest).pieces);
  },
};
