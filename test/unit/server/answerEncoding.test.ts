/** Answers of every size and kind, for clients with gRPC's default message limit. */
import {
  Client,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  status,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import { afterEach, describe, expect, it } from '@jest/globals';
import { Calls, type ServerStreamMethod, type UnaryMethod } from '../../../clients/typescript/src/index.js';
import { CatResponse, FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { InspectionServiceService } from '../../../gen/proto/guestfs/v1/inspection.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { TransferServiceService } from '../../../gen/proto/guestfs/v1/transfer.js';
import { serviceRules } from '../../../src/actions/callRules.js';
import { pascalCase } from '../../../src/actions/names.js';
import { createLogger, silentLogger, type Logger } from '../../../src/common/logger.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { ANSWER_MESSAGE_LIMIT, answerEncoder } from '../../../src/server/answerEncoding.js';
import { decodingSafely } from '../../../src/server/decoding.js';
import { Dispatch } from '../../../src/server/dispatch.js';
import { FilePieces } from '../../../src/server/fileMessages.js';
import { rpcOf } from '../../../src/server/methods.js';
import { observeCalls } from '../../../src/server/observeCalls.js';
import type { Rpc, ServiceRpc } from '../../../src/server/rpc.js';
import { sameForAll } from '../../../src/security/access.js';
import { SessionRegistry } from '../../../src/session/sessionRegistry.js';
import { pattern } from '../../fakes/files.js';
import { failureOf } from '../../support/testClient.js';

let stop: () => void = () => undefined;
afterEach(() => stop());

/** Answers by libguestfs's name of the action or, for an RPC that is not an action, that of the RPC. */
type Handlers = Readonly<Record<string, Pick<Rpc, 'kind'> & { readonly perform: ServiceRpc['perform'] }>>;

/** A client with default limits, and a server with these RPCs. */
async function serving(
  definition: ServiceDefinition,
  handlers: Handlers,
  logger: Logger = silentLogger,
): Promise<Client> {
  const server = new Server({ 'grpc.max_send_message_length': -1, interceptors: [observeCalls(logger)] });
  const dispatch = new Dispatch({
    registry: new SessionRegistry(1, silentLogger),
    identify: async () => undefined,
    access: sameForAll({ imageRoots: { directories: [] }, allowed: new Set() }),
    debugService: false,
    logger,
  });
  const members = Object.entries(handlers).map(([name, { kind, perform }]) => {
    const { key, method } = rpcOf(definition, pascalCase(name));
    const rpc = { kind, perform, rules: { ...serviceRules.ListSessions, name } };
    const encode = name === 'download' ? (answer: object) => answer : answerEncoder(name, method.responseSerialize);
    return { key, method, handler: dispatch.handler(rpc, encode) };
  });
  server.addService(
    decodingSafely(Object.fromEntries(members.map(({ key, method }) => [key, method]))),
    Object.fromEntries(members.map(({ key, handler }) => [key, handler])),
  );
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? reject(error) : resolve(bound),
    );
  });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  stop = () => {
    client.close();
    server.forceShutdown();
  };
  return client;
}

const answering = (answer: object): Handlers[string] => ({ kind: 'unary', perform: async () => answer });
const streaming = (...answers: readonly object[]): Handlers[string] => ({
  kind: 'serverStream',
  perform: async (_call, stream) => {
    for (const answer of answers) await stream.write(answer);
    return {};
  },
});

function ask<Request, Response>(
  client: Client,
  method: UnaryMethod<Request, Response>,
  request: Request,
): Promise<Response> {
  return new Calls(client, new Metadata()).call(method, request);
}

const { cat, readLines } = FileServiceService;
const { inspectListApplications2 } = InspectionServiceService;

/** Tag, and length in four bytes. */
const HEAD = 5;

describe('an answer', () => {
  it('that is as large as a client accepts arrives', async () => {
    const content = 'x'.repeat(ANSWER_MESSAGE_LIMIT - HEAD);
    const client = await serving(FileServiceService, { cat: answering({ content }) });
    expect((await ask(client, cat, { path: '/a' })).content.length).toBe(content.length);
  });

  it('that is larger is an error with an alternative', async () => {
    const client = await serving(FileServiceService, {
      cat: answering({ content: 'x'.repeat(ANSWER_MESSAGE_LIMIT - HEAD + 1) }),
    });
    expect(await failureOf(ask(client, cat, { path: '/a' }))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: `cat: the answer is larger than ${ANSWER_MESSAGE_LIMIT} bytes, which is what one message can hold; use Download, which streams, or Pread for a part`,
      info: { reason: 'MESSAGE_TOO_LARGE', metadata: { action: 'cat', limit: String(ANSWER_MESSAGE_LIMIT) } },
    });
  });

  it('that is larger has a record with the reason', async () => {
    const lines: string[] = [];
    const content = 'x'.repeat(ANSWER_MESSAGE_LIMIT);
    const logger = createLogger('info', (line) => lines.push(line));
    const client = await serving(FileServiceService, { cat: answering({ content }) }, logger);
    await failureOf(ask(client, cat, { path: '/a' }));
    expect(lines.map((line) => JSON.parse(line) as object)).toMatchObject([
      { msg: 'call failed', action: 'cat', reason: 'MESSAGE_TOO_LARGE' },
    ]);
  });

  it('is measured by the bytes of its text; one byte from a guest can become three', async () => {
    const client = await serving(FileServiceService, {
      read_lines: answering({ lines: ['\uefe9'.repeat(ANSWER_MESSAGE_LIMIT / 2)] }),
    });
    expect(await failureOf(ask(client, readLines, { path: '/a' }))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      info: { reason: 'MESSAGE_TOO_LARGE' },
    });
  });

  it('that is a list is measured in total', async () => {
    const one = { ...emptyApplication, app2_description: 'x'.repeat(1024) };
    const client = await serving(InspectionServiceService, {
      inspect_list_applications2: answering({ applications2: Array.from({ length: 4096 }, () => one) }),
    });
    expect(await failureOf(ask(client, inspectListApplications2, { root: '/dev/sda1' }))).toMatchObject({
      code: status.RESOURCE_EXHAUSTED,
      details: expect.stringContaining('use Inspect, which answers in batches'),
      info: { reason: 'MESSAGE_TOO_LARGE' },
    });
  });

  it('without an alternative is an error without one', async () => {
    const { getLog } = SessionServiceService;
    const client = await serving(SessionServiceService, {
      GetLog: answering({ log: 'x'.repeat(ANSWER_MESSAGE_LIMIT), dropped_bytes: 0n }),
    });
    expect(await failureOf(ask(client, getLog, { id: 'a' }))).toMatchObject({
      details: expect.stringMatching(/^GetLog: .*hold$/),
      info: { metadata: { action: 'GetLog' } },
    });
  });

  it('that no message can represent is an internal error, which is logged', async () => {
    const lines: string[] = [];
    const client = await serving(
      InspectionServiceService,
      {
        inspect_list_applications2: answering({ applications2: [{ ...emptyApplication, app2_epoch: 2 ** 40 }] }),
      },
      createLogger('error', (line) => lines.push(line)),
    );
    expect(await failureOf(ask(client, inspectListApplications2, { root: '/dev/sda1' }))).toMatchObject({
      code: status.INTERNAL,
      details: expect.stringContaining('the server log has the details'),
      info: { reason: 'INTERNAL', metadata: { action: 'inspect_list_applications2' } },
    });
    expect(lines.join('')).toMatch(/invalid int32/);
  });

  it('that fails is passed on', async () => {
    const client = await serving(FileServiceService, {
      cat: { kind: 'unary', perform: () => Promise.reject(new GuestfsError('ENOENT', 'no')) },
    });
    expect(await failureOf(ask(client, cat, { path: '/a' }))).toMatchObject({ code: status.NOT_FOUND, details: 'no' });
  });
});

describe('a stream of answers', () => {
  /** What a client received before the end, and the end. */
  async function read<Request>(
    client: Client,
    method: ServerStreamMethod<Request, object>,
    request: Request,
  ): Promise<{ got: number; failure: unknown }> {
    let got = 0;
    try {
      for await (const _message of new Calls(client, new Metadata()).stream(method, request)) got += 1;
    } catch (error) {
      return { got, failure: error };
    }
    return { got, failure: undefined };
  }

  it.each([
    ['one too large', { names: ['x'.repeat(ANSWER_MESSAGE_LIMIT)] }, status.RESOURCE_EXHAUSTED, 'MESSAGE_TOO_LARGE'],
    ['one that no message can represent', { names: [{ toString: undefined }] }, status.INTERNAL, 'INTERNAL'],
  ])('ends with %s, after the preceding answers', async (_what, bad, code, reason) => {
    const client = await serving(FileServiceService, {
      find: streaming({ names: ['a'] }, { names: ['b'] }, bad),
    });
    expect(await read(client, FileServiceService.find, { directory: '/' })).toMatchObject({
      got: 2,
      failure: { code, info: { reason, metadata: { action: 'find' } } },
    });
  });

  it('that is a file is not changed', async () => {
    const client = await serving(TransferServiceService, {
      download: streaming(...Array.from({ length: 5 }, () => new FilePieces([pattern(1024 * 1024)]))),
    });
    expect(await read(client, TransferServiceService.download, { remotefilename: '/a' })).toEqual({
      got: 5,
      failure: undefined,
    });
  });
});

it('the limit is that of the message, not of its value', () => {
  expect(CatResponse.encode({ content: 'x'.repeat(ANSWER_MESSAGE_LIMIT - HEAD) }).finish().length).toBe(
    ANSWER_MESSAGE_LIMIT,
  );
});

const emptyApplication = {
  app2_name: '',
  app2_display_name: '',
  app2_epoch: 0,
  app2_version: '',
  app2_release: '',
  app2_arch: '',
  app2_install_path: '',
  app2_trans_path: '',
  app2_publisher: '',
  app2_url: '',
  app2_source_package: '',
  app2_summary: '',
  app2_description: '',
  app2_class: '',
  app2_spare2: '',
  app2_spare3: '',
  app2_spare4: '',
};
