/** The replies of the daemon: the decoder of every procedure, and the answer that the client gets of them. */
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
/** Before the body of a reply, in an input: which call, and how the reply's header is. */
const PICK = 3;
/** In the third byte of an input: the header is in the rest of it, too. */
const OWN_HEADER = 2;

const calls = Object.values(daemonCalls).sort((one, other) => one.procedure - other.procedure);

type Method = MethodDefinition<object, object>;

/** By action: the RPC that answers with what the daemon replies. */
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

/** The value in a reply; undefined if it is an error, or no reply to the call. */
function replyOf(call: AnyDaemonCall, bytes: Buffer): object | undefined {
  return unlessRefused([ProtocolError, GuestfsError], () => turn(() => decodeReply(call, SERIAL, bytes) as object));
}

/** What the server makes of a reply can be read by clients, and says the same. */
function checkAnswer(method: Method, answer: object): void {
  const bytes = method.responseSerialize(answer);
  const again = method.responseSerialize(method.responseDeserialize(bytes));
  ensure(again.equals(bytes), 'an answer is not what the client reads');
}

function seedOf(call: AnyDaemonCall, index: number): Buffer[] {
  // Any reply begins with one of these: no value, a number, some text, a list, or a list of records.
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
