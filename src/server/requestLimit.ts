/** Requests that are larger than one message may be. */
import type { ServerInterceptingCall, ServerInterceptor } from '@grpc/grpc-js';
import { status } from '@grpc/grpc-js';
import type { GuestfsError } from '../common/errors.js';
import type { Logger } from '../common/logger.js';
import { requestTooLarge } from '../common/messageLimits.js';
import { chunkTooLarge } from './fileIn.js';
import { rpcAt } from './rpcNames.js';
import { toStatus } from './statusMapping.js';

/**
 * Largest request, bytes: above the daemon's own limit of 4 MiB, so that a request over that
 * one is refused with an explanation.
 */
export const REQUEST_LIMIT = 8 * 1024 * 1024;

/** What grpc-js says of a message that is larger, or would be if it were decompressed. */
const TOO_LARGE = /^Received message (?:larger than max \((\d+) |that decompresses to a size larger)/;

/** What one of our RPCs says of it instead. */
function refusal(name: string, isClientStream: boolean, size: number | undefined): GuestfsError {
  return isClientStream ? chunkTooLarge(size) : requestTooLarge(name, 'server', REQUEST_LIMIT, size);
}

/**
 * Says what grpc-js says of requests over its limit in our own words, with details. It refuses
 * them where it reads their length, below all interceptors, by the method of its own call that
 * ends it: so that one is replaced here, and this has to be the first of the interceptors.
 */
export function explainingRequestLimit(logger: Logger): ServerInterceptor {
  return (method, call) => {
    const rpc = rpcAt(method.path);
    if (rpc !== undefined) {
      const { name } = rpc;
      const send = call.sendStatus.bind(call);
      call.sendStatus = (sent) => {
        const match = sent.code === status.RESOURCE_EXHAUSTED ? TOO_LARGE.exec(sent.details ?? '') : null;
        if (match === null) send(sent);
        else send(toStatus(refusal(name, method.requestStream, match[1] === undefined ? undefined : Number(match[1])), { action: name }, logger));
      };
    }
    return call as ServerInterceptingCall;
  };
}
