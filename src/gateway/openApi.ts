/**
 * An OpenAPI 3.1 document of everything that the gateway serves by the Connect protocol, from the descriptors of the
 * API: paths, schemas of messages in the JSON form of protobuf, and the comments of the .proto files.
 */
import { MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import type { DescMethod } from '@bufbuild/protobuf';
import { serviceRules, type CallRules } from '../actions/callRules.js';
import { SERVER_VERSION } from '../common/version.js';
import { REQUEST_ID_HEADER } from '../server/requestIds/requestId.js';
import { SESSION_HEADER } from '../server/sessionHeader.js';
import { hasOneRequest, pathOf, readApi, type Api } from './api.js';
import { commentOf } from './comments.js';
import { refTo, Schemas, type Schema } from './jsonSchema.js';

/** An OpenAPI document, or a part of one. */
export type OpenApi = Readonly<Record<string, unknown>>;

/** Names of components that are not messages of the API. */
const ERROR = 'connect.error';
const END_OF_STREAM = 'connect.end-of-stream';

const HEADERS: Readonly<Record<string, OpenApi>> = {
  session: {
    ...{ name: SESSION_HEADER, in: 'header', required: true, schema: { type: 'string' } },
    description: 'The ID of the session, as CreateSession returned it.',
  },
  'request-id': {
    ...{ name: REQUEST_ID_HEADER, in: 'header', schema: { type: 'string', pattern: '^[A-Za-z0-9._-]{1,64}$' } },
    description: 'A name for the call: one that is repeated with the same name is made once.',
  },
  timeout: {
    ...{ name: 'connect-timeout-ms', in: 'header', schema: { type: 'integer', minimum: 0, maximum: 2_147_483_647 } },
    description: 'The deadline of the call, milliseconds from now.',
  },
  protocol: {
    ...{ name: 'connect-protocol-version', in: 'header', schema: { type: 'string', enum: ['1'] } },
    description: 'Sent by the clients of Connect.',
  },
};

const CODES = [
  ...['canceled', 'unknown', 'invalid_argument', 'deadline_exceeded', 'not_found', 'already_exists'],
  ...['permission_denied', 'resource_exhausted', 'failed_precondition', 'aborted', 'out_of_range', 'unimplemented'],
  ...['internal', 'unavailable', 'data_loss', 'unauthenticated'],
];

const ERROR_SCHEMA: Schema = {
  type: 'object',
  description: 'The error of a call.',
  properties: {
    code: { type: 'string', enum: CODES },
    message: { type: 'string' },
    details: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          type: { type: 'string', description: 'The message that value encodes, such as google.rpc.ErrorInfo.' },
          value: { type: 'string', contentEncoding: 'base64' },
        },
        required: ['type', 'value'],
      },
    },
  },
  required: ['code'],
};

const END_SCHEMA: Schema = {
  type: 'object',
  description: 'The last message of a stream; the first of the five bytes before it is 2.',
  properties: {
    error: refTo(ERROR),
    metadata: { type: 'object', additionalProperties: { type: 'array', items: { type: 'string' } } },
  },
};

/** How streams are written, for descriptions. */
const FRAMES =
  'Each message of a stream comes after five bytes: 0, and its length (big-endian); OpenAPI has no words for that, so the schema is that of one message.';

function rulesOf({ name }: DescMethod): CallRules | undefined {
  return (serviceRules as Readonly<Record<string, CallRules>>)[name];
}

function parametersOf(method: DescMethod): readonly Schema[] {
  const changes = method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
  const names = [
    ...((rulesOf(method)?.session ?? 'metadata') === 'metadata' ? ['session'] : []),
    ...(changes ? ['request-id'] : []),
    'timeout',
    'protocol',
  ];
  return names.map((name) => ({ $ref: `#/components/parameters/${name}` }));
}

function operationOf(method: DescMethod, schemas: Schemas): OpenApi {
  const service = method.parent.name;
  const isUnary = method.methodKind === 'unary';
  const type = isUnary ? 'application/json' : 'application/connect+json';
  const input = schemas.of(method.input);
  const output = schemas.of(method.output);
  const answer = isUnary ? output : { anyOf: [output, refTo(END_OF_STREAM)] };
  const streams = isUnary ? [] : [`A stream of ${hasOneRequest(method) ? 'answers' : 'requests'}. ${FRAMES}`];
  const description = [commentOf(method), ...streams].filter((text) => text !== undefined).join('\n\n');
  return {
    tags: [service],
    operationId: `${service}.${method.name}`,
    ...(description === '' ? {} : { description }),
    ...(method.deprecated ? { deprecated: true } : {}),
    parameters: parametersOf(method),
    requestBody: { required: true, content: { [type]: { schema: input } } },
    responses: {
      '200': { description: isUnary ? 'The answer.' : 'The answers.', content: { [type]: { schema: answer } } },
      default: { description: 'An error.', content: { 'application/json': { schema: refTo(ERROR) } } },
    },
  };
}

/** The document. */
export function openApi({ services }: Api): OpenApi {
  const schemas = new Schemas(commentOf);
  const paths = Object.fromEntries(
    services.flatMap(({ methods }) =>
      methods.map((method) => [pathOf(method), { post: operationOf(method, schemas) }] as const),
    ),
  );
  return {
    openapi: '3.1.0',
    info: {
      title: 'guestfs-grpc',
      version: SERVER_VERSION,
      description:
        'libguestfs by the Connect protocol. Numbers of 64 bits are strings, bytes are base64, as in the JSON form of protobuf.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    tags: services.map((service) => ({ name: service.name, description: commentOf(service) ?? service.name })),
    paths,
    components: {
      parameters: HEADERS,
      schemas: { ...schemas.collected(), [ERROR]: ERROR_SCHEMA, [END_OF_STREAM]: END_SCHEMA },
      securitySchemes: {
        token: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' },
        certificate: { type: 'mutualTLS' },
      },
    },
    // Which of them, if any, is for the operator of the server to decide.
    security: [{}, { token: [] }, { certificate: [] }],
  };
}

/** The document as a text for people to read. */
export async function openApiText(): Promise<string> {
  return `${JSON.stringify(openApi(await readApi()), undefined, 2)}\n`;
}
