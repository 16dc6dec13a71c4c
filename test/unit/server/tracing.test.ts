/** Traces of the complete server, as a collector gets them. */
import { randomBytes } from 'node:crypto';
import { credentials, InterceptingCall, Metadata } from '@grpc/grpc-js';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { traceCalls } from '../../../src/cli/tracing.js';
import { silentLogger, type LogFields, type Logger } from '../../../src/common/logger.js';
import { setTracing } from '../../../src/common/spans.js';
import type { Tracing } from '../../../src/server/tracing/openTelemetry.js';
import { FakeMachine } from '../../fakes/fakeLauncher.js';
import { ReplicaSet } from '../../fakes/replicas.js';
import { servedSession, type ServedSession } from '../../fakes/servedSession.js';
import { eventually } from '../../support/eventually.js';
import {
  startGrpcReceiver,
  startOtlpReceiver,
  type OtlpReceiver,
  type ReceivedSpan,
} from '../../support/otlpReceiver.js';
import { SessionClient, TestClient, scratchDrive } from '../../support/testClient.js';

jest.setTimeout(60_000);

const environment = { ...process.env };
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
  setTracing(false);
  process.env = { ...environment };
});

/** Turns tracing on as the environment of a server would, until the end of the test. */
async function trace(variables: Readonly<Record<string, string>>, logger: Logger = silentLogger): Promise<Tracing> {
  Object.assign(process.env, { OTEL_BSP_SCHEDULE_DELAY: '20', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/json', ...variables });
  const tracing = await traceCalls(process.env, 'replica-1', logger);
  if (tracing === undefined) throw new Error('tracing is off');
  ends.push(() => tracing.close());
  return tracing;
}

async function receiver(answer?: Parameters<typeof startOtlpReceiver>[0]): Promise<OtlpReceiver> {
  const started = await startOtlpReceiver(answer);
  ends.push(() => started.close());
  return started;
}

async function served(tracing: Tracing, logger: Logger = silentLogger): Promise<ServedSession> {
  const server = await servedSession({ tracer: tracing.tracer, logger });
  ends.push(() => server.stop());
  return server;
}

/** A client that sends this with each call, until the end of the test. */
function clientWith(address: string, headers: Readonly<Record<string, string>>): TestClient {
  const client = new TestClient(address, credentials.createInsecure(), {
    interceptors: [
      (options, next) =>
        new InterceptingCall(next(options), {
          start: (metadata, listener, start) => {
            for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
            start(metadata, listener);
          },
        }),
    ],
  });
  ends.push(() => client.close());
  return client;
}

/** The session of a served one, called with these headers. */
function sessionOf(
  { server }: ServedSession,
  headers: Readonly<Record<string, string>> = {},
  id = 'test',
): SessionClient {
  return new SessionClient(clientWith(server.address, headers), id);
}

/** The context of a client's span. */
function context(flags = '01'): {
  readonly traceId: string;
  readonly spanId: string;
  readonly headers: Readonly<Record<string, string>>;
} {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate: 'vendor=value' } };
}

function named(spans: readonly ReceivedSpan[], name: string): ReceivedSpan {
  const found = spans.find((span) => span.name === name);
  if (found === undefined) throw new Error(`no ${name} among ${spans.map((span) => span.name).join(', ')}`);
  return found;
}

function collecting(lines: LogFields[]): Logger {
  const add = (_message: string, fields: LogFields = {}): void => void lines.push(fields);
  return { ...{ debug: add, info: add, warn: add, error: add }, child: () => collecting(lines) };
}

const TOUCH = 'guestfs.v1.FileService/Touch';

describe('a call', () => {
  it('continues the trace of its client, with a span for each of its parts', async () => {
    const collector = await receiver();
    const lines: LogFields[] = [];
    const server = await served(await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }), collecting(lines));
    const { traceId, spanId, headers } = context();
    await sessionOf(server, headers).call('touch', { path: '/x' });
    const spans = await collector.trace(traceId, TOUCH);
    const call = named(spans, TOUCH);
    expect(call).toMatchObject({ kind: 'server', parentSpanId: spanId, failed: false });
    expect(call.attributes).toEqual({
      'rpc.system.name': 'grpc',
      'rpc.method': TOUCH,
      'rpc.response.status_code': 'OK',
      'guestfs.session.id': 'test',
    });
    expect(named(spans, 'queue')).toMatchObject({ kind: 'internal', parentSpanId: call.spanId });
    const daemon = named(spans, 'guestfsd touch');
    expect(daemon).toMatchObject({ kind: 'client', parentSpanId: call.spanId, failed: false });
    expect(daemon.attributes).toEqual({ 'rpc.system.name': 'guestfsd', 'rpc.method': 'touch' });
    expect(daemon.start >= call.start && daemon.end <= call.end).toBe(true);
    expect(collector.resource).toMatchObject({
      ...{ 'service.name': 'guestfs-grpc', 'service.instance.id': 'replica-1' },
    });
    // The line in the log leads to the trace.
    const line = lines.find(({ action }) => action === 'touch');
    expect(line).toMatchObject({ trace_id: traceId, span_id: call.spanId });
  });

  it('begins a trace if its client has none, or one that is malformed', async () => {
    const collector = await receiver();
    const server = await served(await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }));
    for (const traceparent of [undefined, 'x', `00-${'0'.repeat(32)}-${'0'.repeat(16)}-01`, 'ff'.repeat(2000)])
      await sessionOf(server, traceparent === undefined ? {} : { traceparent }).call('touch', { path: '/x' });
    const calls = (): readonly ReceivedSpan[] => collector.spans.filter(({ name }) => name === TOUCH);
    await eventually(() => calls().length === 4);
    expect(calls().map(({ parentSpanId }) => parentSpanId)).toEqual(['', '', '', '']);
    expect(new Set(calls().map(({ traceId }) => traceId)).size).toBe(4);
  });

  it('that fails says by which reason, and nothing of the guest or of the request', async () => {
    const collector = await receiver();
    const server = await served(await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }));
    const { traceId, headers } = context();
    await sessionOf(server, headers, 'other').failure('touch', { path: '/secret-name' });
    const call = named(await collector.trace(traceId, TOUCH), TOUCH);
    expect(call.attributes).toMatchObject({
      'rpc.response.status_code': 'NOT_FOUND',
      'error.type': 'SESSION_UNKNOWN',
    });
    // The fault of the client, by the conventions for gRPC.
    expect(call.failed).toBe(false);
    await sessionOf(server).call('luks_open', { device: '/dev/sda', key: 'secret-key', mapname: 'secret-map' });
    await eventually(() => collector.spans.some(({ name }) => name === 'guestfsd luks_open'));
    expect(Buffer.concat(collector.bodies).toString()).not.toContain('secret');
  });

  it('that transfers a file has a span for that, with its size', async () => {
    const collector = await receiver();
    const server = await served(await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }));
    const [up, down] = [context(), context()];
    await sessionOf(server, up.headers).upload('upload', { remotefilename: '/x' }, [Buffer.alloc(100_000)]);
    const upload = await collector.trace(up.traceId, 'guestfs.v1.TransferService/Upload');
    expect(named(upload, 'transfer')).toMatchObject({
      parentSpanId: named(upload, 'guestfsd upload').spanId,
      attributes: { 'guestfs.transfer.direction': 'upload', 'guestfs.transfer.bytes': 100_000 },
      failed: false,
    });
    server.file = Buffer.alloc(70_000);
    await sessionOf(server, down.headers).download('download', { remotefilename: '/x' });
    const download = await collector.trace(down.traceId, 'guestfs.v1.TransferService/Download');
    expect(named(download, 'transfer')).toMatchObject({
      parentSpanId: named(download, 'guestfsd download').spanId,
      attributes: { 'guestfs.transfer.direction': 'download', 'guestfs.transfer.bytes': 70_000 },
    });
  });

  it('that the client does not want to be sampled is not exported, but its line has the trace', async () => {
    const collector = await receiver();
    const lines: LogFields[] = [];
    const server = await served(await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url }), collecting(lines));
    const [not, sampled] = [context('00'), context()];
    await sessionOf(server, not.headers).call('touch', { path: '/x' });
    await sessionOf(server, sampled.headers).call('touch', { path: '/x' });
    await collector.trace(sampled.traceId, TOUCH);
    expect(collector.spans.filter(({ traceId }) => traceId === not.traceId)).toEqual([]);
    expect(lines).toContainEqual(expect.objectContaining({ action: 'touch', trace_id: not.traceId }));
  });

  it('is sampled as the standard variables say', async () => {
    const collector = await receiver();
    const server = await served(
      await trace({
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_TRACES_SAMPLER: 'traceidratio',
        OTEL_TRACES_SAMPLER_ARG: '0.25',
      }),
    );
    const session = sessionOf(server);
    for (let call = 0; call < 200; call++) await session.call('touch', { path: '/x' });
    await new Promise((resolve) => setTimeout(resolve, 200));
    const sampled = collector.spans.filter(({ name }) => name === TOUCH).length;
    expect(sampled).toBeGreaterThan(15);
    expect(sampled).toBeLessThan(110);
  });
});

describe('a launch', () => {
  const replicas = new ReplicaSet();
  afterAll(() => replicas.stop());

  it('is a part of the call that asks for it, and fails with its reason', async () => {
    const collector = await receiver();
    const { tracer } = await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const { address, launcher, stop } = await replicas.start({ id: 'one', alone: true, more: { tracer } });
    ends.push(() => stop());
    const machine = new FakeMachine('1.54.1');
    const [good, bad] = [context(), context()];
    const request = { drives: [scratchDrive(1 << 20)], launch: true };
    const creating = clientWith(address, good.headers).createSession(request);
    (await launcher.request(0)).succeed(machine);
    await machine.daemon.launch();
    await creating;
    const CREATE = 'guestfs.v1.SessionService/CreateSession';
    const spans = await collector.trace(good.traceId, CREATE);
    const launch = named(spans, 'launch');
    expect(launch.parentSpanId).toBe(named(spans, CREATE).spanId);
    expect(launch.attributes).toEqual({ 'guestfs.launch.kind': 'cold', 'guestfs.accelerator': 'tcg' });
    expect(named(spans, 'boot').parentSpanId).toBe(launch.spanId);

    const failing = clientWith(address, bad.headers).createSession(request);
    (await launcher.request(1)).fail(new Error('a defect'));
    await expect(failing).rejects.toThrow();
    const failed = await collector.trace(bad.traceId, CREATE);
    expect(named(failed, 'launch')).toMatchObject({ failed: true, attributes: { 'error.type': 'INTERNAL' } });
    expect(named(failed, CREATE)).toMatchObject({
      failed: true,
      attributes: { 'error.type': 'INTERNAL', 'rpc.response.status_code': 'INTERNAL' },
    });
  });
});

describe('a call that is passed on to another replica', () => {
  const replicas = new ReplicaSet();
  afterAll(() => replicas.stop());

  it('continues its trace there', async () => {
    const collector = await receiver();
    const { tracer } = await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const [one, two] = [
      await replicas.start({ id: 'one', more: { tracer } }),
      await replicas.start({ id: 'two', more: { tracer } }),
    ];
    const { id } = await one.client.createSession();
    const GET = 'guestfs.v1.PropertyService/GetMemsize';
    const { traceId, spanId, headers } = context();
    await new SessionClient(clientWith(two.address, headers), id).call('get_memsize');
    const calls = (): readonly ReceivedSpan[] => collector.spans.filter((span) => span.traceId === traceId);
    await eventually(() => calls().length === 3);
    const [arrived] = calls().filter(({ kind, parentSpanId }) => kind === 'server' && parentSpanId === spanId);
    const [passed] = calls().filter(({ kind }) => kind === 'client');
    expect(passed).toMatchObject({ name: GET, parentSpanId: arrived?.spanId, failed: false });
    expect(passed?.attributes).toMatchObject({
      'rpc.response.status_code': 'OK',
      'guestfs.replica': 'one',
      'server.address': '127.0.0.1',
    });
    expect(calls().find(({ parentSpanId }) => parentSpanId === passed?.spanId)).toMatchObject({
      ...{ name: GET, kind: 'server' },
    });

    const failing = context();
    await new SessionClient(clientWith(two.address, failing.headers), id).failure('set_memsize', { memsize: 1 });
    await eventually(() => collector.spans.filter((span) => span.traceId === failing.traceId).length === 3);
    const failed = collector.spans.find((span) => span.traceId === failing.traceId && span.kind === 'client');
    expect(failed).toMatchObject({ failed: true, attributes: { 'error.type': 'BAD_ARGUMENT' } });
  });
});

describe('a collector', () => {
  it.each(['http/protobuf', undefined])('gets protobuf over HTTP: %s', async (protocol) => {
    const collector = await receiver();
    const tracing = await trace({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_PROTOCOL: protocol ?? '',
    });
    tracing.tracer.start('/service/Method', new Metadata()).answered({ code: 'OK', reason: undefined });
    await eventually(() => collector.bodies.length > 0);
    expect(collector.types).toEqual(['application/x-protobuf']);
    expect(Buffer.concat(collector.bodies).toString('latin1')).toContain('service/Method');
  });

  it('gets spans over gRPC', async () => {
    const collector = await startGrpcReceiver();
    ends.push(() => collector.close());
    const tracing = await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' });
    tracing.tracer.start('/service/Method', new Metadata()).answered({ code: 'OK', reason: undefined });
    await eventually(() => collector.bodies.length > 0);
    expect(Buffer.concat(collector.bodies).toString('latin1')).toContain('service/Method');
  });

  it('gets no more than a bounded number of spans of a call', async () => {
    const collector = await receiver();
    const { tracer } = await trace({ OTEL_EXPORTER_OTLP_ENDPOINT: collector.url });
    const call = tracer.start('/service/Method', new Metadata());
    const { trace_id: traceId } = call.ids;
    for (let part = 0; part < 1000; part++) call.child('part', 'internal').end();
    call.answered({ code: 'OK', reason: undefined });
    const spans = await collector.trace(traceId, 'service/Method');
    expect(spans.filter(({ name }) => name === 'part')).toHaveLength(256);
    expect(named(spans, 'service/Method').attributes).toMatchObject({ 'guestfs.omitted_spans': 744 });
  });
});

describe('calls go on, and the server ends in time, if the collector', () => {
  const hangs = new Set<NodeJS.Timeout>();
  afterEach(() => {
    for (const timer of hangs) clearInterval(timer);
    hangs.clear();
  });
  let unhandled = 0;
  const count = (): void => void (unhandled += 1);
  beforeAll(() => void process.on('unhandledRejection', count).on('uncaughtException', count));
  afterAll(() => void process.off('unhandledRejection', count).off('uncaughtException', count));

  const hostile: Record<string, Parameters<typeof startOtlpReceiver>[0]> = {
    'never answers': () => undefined,
    'answers with an endless body': (_request, response) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const timer = setInterval(() => response.write(Buffer.alloc(1 << 20, 'x')), 1);
      hangs.add(timer);
      response.on('close', () => clearInterval(timer)).on('error', () => undefined);
    },
    'answers bytes that are no answer': (_request, response) => void response.writeHead(200).end(Buffer.alloc(9, 0xff)),
    'wants to be asked again in a year': (_request, response) =>
      void response.writeHead(503, { 'retry-after': String(365 * 86_400) }).end(),
    'refuses at length': (_request, response) => void response.writeHead(400, 'no').end('\u001b[31m'.repeat(100_000)),
    'cuts the connection': (request) => void request.socket.destroy(),
  };

  it.each([...Object.keys(hostile), 'is not there'])('%s', async (name) => {
    const lines: LogFields[] = [];
    const collector = hostile[name] === undefined ? undefined : await receiver(hostile[name]);
    const tracing = await trace(
      {
        OTEL_EXPORTER_OTLP_ENDPOINT: collector?.url ?? 'http://127.0.0.1:1',
        OTEL_BSP_MAX_QUEUE_SIZE: '64',
        OTEL_BSP_EXPORT_TIMEOUT: '5000',
        OTEL_EXPORTER_OTLP_TIMEOUT: '5000',
      },
      collecting(lines),
    );
    const server = await served(tracing);
    const session = sessionOf(server);
    for (let call = 0; call < 100; call++) await session.call('touch', { path: '/x' });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const started = performance.now();
    await tracing.close();
    expect(performance.now() - started).toBeLessThan(10_000);
    expect(unhandled).toBe(0);
    // One line, whatever happens how often; and one that cannot be longer or control a terminal.
    const problems = lines.filter(({ reason }) => reason !== undefined);
    expect(problems.length).toBeLessThanOrEqual(1);
    for (const { reason } of problems) {
      expect(String(reason).length).toBeLessThan(400);
      expect(String(reason)).not.toContain('\u001b');
    }
  });
});
