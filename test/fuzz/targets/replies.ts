/** The replies of the daemon: the decoder of every procedure, and the answer made from the reply for the client. */
import type { MethodDefinition } from '@grpc/grpc-js';
import { daemonCalls } from '../../../gen/calls/index.js';
import { services } from '../../../gen/services.js';
import { GuestfsError } from '../../../src/common/errors.js';
import {
  DIRECTION_REPLY,
  PROGRAM,
  PROTOCOL_VERSION,
  STATUS_ERROR,
  STATUS_OK,
} from '../../../src/protocol/constants.js';
import type { AnyDaemonCall } from '../../../src/protocol/daemonCall.js';
import { decodeReply, ProtocolError } from '../../../src/protocol/messages.js';
import { rpcAt } from '../../../src/server/rpcNames.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { ensure, turn, unlessRefused, type Target } from '../engine/target.js';

const SERIAL = 0x1234;
/** Bytes of an input before the body of a reply: they select the call and the kind of header. */
const PICK = 3;
/** Bit in the third byte of an input: the rest of the input includes the header. */
const OWN_HEADER = 2;

const calls = Object.values(daemonCalls).sort((one, other) => one.procedure - other.procedure);

type Method = MethodDefinition<object, object>;

/** The RPC of each action that answers with the daemon's reply. */
const methods: ReadonlyMap<string, Method> = new Map(
  Object.values(services).flatMap((service) =>
    (Object.values(service) as Method[]).flatMap((method) => {
      const action = rpcAt(method.path)?.action;
      const isReply = action?.impl === 'daemon' && !method.responseStream;
      return isReply ? [[action.name, method] as const] : [];
    }),
  ),
);

function header(procedure: number, status: number): Buffer {
  const encoder = new XdrEncoder();
  for (const word of [PROGRAM, PROTOCOL_VERSION, procedure, DIRECTION_REPLY, SERIAL]) encoder.unsignedInt(word);
  encoder.unsignedInt64(0n);
  encoder.unsignedInt64(0n);
  encoder.unsignedInt(status);
  return encoder.finish();
}

/** The value in a reply; undefined if it is an error, or not a reply to the call. */
function replyOf(call: AnyDaemonCall, bytes: Buffer): object | undefined {
  return unlessRefused([ProtocolError, GuestfsError], () => turn(() => decodeReply(call, SERIAL, bytes) as object));
}

/** Checks that clients can read the answer, with the same contents. */
function checkAnswer(method: Method, answer: object): void {
  const bytes = method.responseSerialize(answer);
  const again = method.responseSerialize(method.responseDeserialize(bytes));
  ensure(again.equals(bytes), 'the client does not read what was sent');
}

function seedOf(call: AnyDaemonCall, index: number): Buffer[] {
  // Every reply starts with one of these: no value, a number, a string, a list, or a list of records.
  const bodies = [
    Buffer.alloc(0),
    Buffer.alloc(4),
    Buffer.alloc(8),
    Buffer.from('0000000161000000', 'hex'),
    Buffer.from('000000010000000161000000', 'hex'),
  ];
  const fits = (body: Buffer): boolean =>
    replyOf(call, Buffer.concat([header(call.procedure, STATUS_OK), body])) !== undefined;
  const fitting = bodies.find(fits);
  return [Buffer.concat([Buffer.of(index >> 8, index & 0xff, STATUS_OK), fitting ?? Buffer.alloc(256)])];
}

export const replies: Target = {
  name: 'replies',
  about: "the XDR decoder of every procedure, and the answers made of the daemon's replies",
  longest: 2048,
  stretched: 4 << 20,
  seeds: () => calls.flatMap(seedOf),
  run(input) {
    const call = calls[(((input[0] ?? 0) << 8) | (input[1] ?? 0)) % calls.length] as AnyDaemonCall;
    const flags = input[2] ?? 0;
    const body = input.subarray(PICK);
    const status = (flags & 1) === 0 ? STATUS_OK : STATUS_ERROR;
    const bytes = (flags & OWN_HEADER) === 0 ? Buffer.concat([header(call.procedure, status), body]) : body;
    const answer = replyOf(call, bytes);
    const method = methods.get(call.action);
    if (answer !== undefined && method !== undefined) checkAnswer(method, answer);
  },
};
