/** Which protocol a request is of, and how each of them refuses a call that is not made. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { DescMethod } from '@bufbuild/protobuf';
import type { ConnectError } from '@connectrpc/connect';
import {
  codeToHttpStatus,
  contentTypeStreamRegExp,
  contentTypeUnaryRegExp,
  endStreamFlag,
  endStreamToJson,
  errorToJsonBytes,
} from '@connectrpc/connect/protocol-connect';
import { contentTypeRegExp as contentTypeGrpcWebRegExp, setTrailerStatus } from '@connectrpc/connect/protocol-grpc-web';
import { GuestfsError } from '../common/errors.js';
import { hasOneRequest } from './api.js';

/** A protocol and its encoding of messages. */
export interface Protocol {
  readonly kind: 'connect' | 'connect-stream' | 'grpc-web';
  readonly encoding: 'json' | 'proto';
  readonly contentType: string;
}

/** Around each message of a stream, and of gRPC-Web. */
export const ENVELOPE_BYTES = 5;

/** The protocol of a request; undefined for a content type that is none's. */
export function protocolOf({ headers }: IncomingMessage): Protocol | undefined {
  const contentType = headers['content-type'] ?? '';
  const encoding = /json/i.test(contentType) ? 'json' : 'proto';
  if (contentTypeUnaryRegExp.test(contentType)) return { kind: 'connect', encoding, contentType };
  if (contentTypeStreamRegExp.test(contentType)) return { kind: 'connect-stream', encoding, contentType };
  // grpc-web-text, which Connect's handler would take for the binary form, although it is base64.
  if (!contentTypeGrpcWebRegExp.test(contentType) || /-text/i.test(contentType)) return undefined;
  return { kind: 'grpc-web', encoding, contentType };
}

/** The text for a content type that is none's. */
export const CONTENT_TYPES =
  'the content type must be application/json or application/proto (Connect), application/connect+json or application/connect+proto (streams), application/grpc-web+proto or application/grpc-web+json; not application/grpc-web-text, whose base64 no current browser needs';

/** The bytes of the only message in a request's body. */
export function messageIn({ kind }: Protocol, body: Buffer): Buffer {
  return kind === 'connect' ? body : body.subarray(ENVELOPE_BYTES);
}

/**
 * Makes sure that a method can be called in a protocol.
 * @throws GuestfsError NOT_OVER_NETWORK
 */
export function requireProtocol({ kind }: Protocol, method: DescMethod): void {
  if (kind === 'grpc-web') return;
  if ((kind === 'connect') === (method.methodKind === 'unary')) return;
  const { name } = method;
  throw new GuestfsError(
    'NOT_OVER_NETWORK',
    kind === 'connect'
      ? `${name} has a stream of ${hasOneRequest(method) ? 'answers' : 'requests'}: call it with the content type application/connect+json or application/connect+proto, each message after five bytes with its length, or with gRPC`
      : `${name} has one request and one answer: call it with the content type application/json or application/proto`,
  );
}

/** Answers a call with an error, in its protocol. */
export function refuse(response: ServerResponse, { kind, contentType }: Protocol, error: ConnectError): void {
  switch (kind) {
    case 'connect':
      response
        .writeHead(codeToHttpStatus(error.code), { 'content-type': 'application/json' })
        .end(errorToJsonBytes(error, undefined));
      return;
    case 'connect-stream': {
      const text = Buffer.from(JSON.stringify(endStreamToJson(new Headers(), error, undefined)));
      const envelope = Buffer.alloc(ENVELOPE_BYTES, endStreamFlag);
      envelope.writeUInt32BE(text.length, 1);
      response.writeHead(200, { 'content-type': contentType }).end(Buffer.concat([envelope, text]));
      return;
    }
    case 'grpc-web':
      response
        .writeHead(200, {
          'content-type': contentType,
          ...Object.fromEntries(setTrailerStatus(new Headers(), error)),
        })
        .end();
  }
}
