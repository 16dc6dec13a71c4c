/**
 * What one client can do to the others: nothing that it sends blocks the event loop for noticeably long,
 * and the server continues to answer them.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect as connectHttp2, type ClientHttp2Session } from 'node:http2';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { FileServiceService } from '../../../gen/proto/guestfs/v1/file.js';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { services } from '../../../gen/services.js';
import type { Session } from '../../../gen/proto/guestfs/v1/session.js';
import { REQUEST_LIMIT } from '../../../src/common/messageLimits.js';
import { SessionClient, TestClient } from '../../support/testClient.js';
import { run } from '../../support/diskImages.js';
import { openCall } from '../../support/openCall.js';
import { settings } from '../../support/scene.js';

const SERVER = fileURLToPath(new URL('../../fakes/watchedServer.js', import.meta.url));
/** CPU time that one turn of the loop may take, milliseconds. */
const LIMIT_MS = 50;
/** Garbage may be collected during a round, but not during each. */
const ROUNDS = 3;

let images: string;
let server: ChildProcess;
let lines: AsyncIterator<string>;
let address: string;
let client: TestClient;

async function longestTurn(): Promise<number> {
  server.stdin?.write('\n');
  return Number((await lines.next()).value);
}

/** The memory of the server, MiB. */
function memory(): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))?.[1]) / 1024;
}

beforeAll(async () => {
  images = mkdtempSync(join(tmpdir(), 'guestfs-grpc-hostile-'));
  server = spawn(process.execPath, ['--experimental-vm-modules', SERVER, images], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  lines = createInterface({ input: server.stdout as NonNullable<typeof server.stdout> })[Symbol.asyncIterator]();
  address = String((await lines.next()).value);
  client = new TestClient(address);
  // Code is compiled when it is first called.
  for (let count = 0; count < 300; count += 1) await bystander();
  for (const [name, attack] of Object.entries(ATTACKS)) if (!SLOW.has(name)) await attack();
  await setTimeout(1000);
}, 300_000);
afterAll(async () => {
  client.close();
  server.stdin?.end();
  await once(server, 'exit');
  rmSync(images, { recursive: true });
});

/** Another client's call. */
async function bystander(): Promise<void> {
  await new SessionClient(client, 'CONFIG').call('get_memsize');
}

async function connection(): Promise<ClientHttp2Session> {
  const session = connectHttp2(`http://${address}`);
  session.on('error', () => undefined);
  await once(session, 'connect');
  return session;
}

function header(size: number, compressed = 0): Buffer {
  const bytes = Buffer.alloc(5, compressed);
  bytes.writeUInt32BE(size, 1);
  return bytes;
}

/** Sends a complete request, and waits for its end. */
async function request(path: string, message: Buffer, compressed = 0, headers: object = {}): Promise<void> {
  const on = await connection();
  const stream = openCall(on, path, headers);
  const closed = new Promise((resolve) => stream.once('close', resolve));
  stream.end(Buffer.concat([header(message.length, compressed), message]));
  await closed;
  on.destroy();
}

/** Many calls of one client at once; those that did not fail. */
async function all<T>(count: number, call: (index: number) => Promise<T>): Promise<T[]> {
  const ended = await Promise.allSettled(Array.from({ length: count }, (_, index) => call(index)));
  return ended.filter((one) => one.status === 'fulfilled').map(({ value }) => value);
}

const CREATE = SessionServiceService.createSession.path;
const { write, mkdir, lstatnslist } = FileServiceService;

/** A field of variable length that is empty. */
const emptyField = (number: number): Buffer => Buffer.of((number << 3) | 2, 0);

const ATTACKS: Readonly<Record<string, () => Promise<void>>> = {
  'a VMDK of newlines, thirty times': async () => {
    const image = Buffer.alloc(64 * 1024, '\n');
    image.fill(0, 0, 512);
    image.write('KDMV');
    image.writeBigUInt64LE(2048n, 12);
    image.writeBigUInt64LE(1n, 28);
    writeFileSync(join(images, 'newlines.vmdk'), image);
    const session = new SessionClient(client, 'CONFIG');
    await Promise.all(
      Array.from({ length: 30 }, () => session.call('disk_has_backing_file', { filename: 'newlines.vmdk' })),
    );
  },
  'a session with 60,000 drives': () => request(CREATE, Buffer.alloc(2 * 60_000, emptyField(2))),
  'a session with four million drives': () => request(CREATE, Buffer.alloc(REQUEST_LIMIT, emptyField(2))),
  'a session with four million labels': () => request(CREATE, Buffer.alloc(REQUEST_LIMIT, emptyField(6))),
  'four million names': () => request(lstatnslist.path, Buffer.alloc(REQUEST_LIMIT, emptyField(2))),
  'eight megabytes that are not a message': () => request(mkdir.path, Buffer.alloc(REQUEST_LIMIT, 0xff)),
  '64 kilobytes that are 64 megabytes': () =>
    request(mkdir.path, gzipSync(Buffer.alloc(64 * 1024 * 1024)), 1, { 'grpc-encoding': 'gzip' }),
  '120 requests that never end': async () => {
    const on = await connection();
    const half = Buffer.concat([header(REQUEST_LIMIT - 64), Buffer.alloc(REQUEST_LIMIT - 100_000)]);
    for (let count = 0; count < 120; count += 1) openCall(on, mkdir.path).write(half);
    await setTimeout(2000);
    on.destroy();
  },
  '1,000 requests that announce 60 megabytes': async () => {
    const connections = await Promise.all(Array.from({ length: 4 }, connection));
    const announced = Buffer.concat([header(60 << 20), Buffer.of(0)]);
    for (let count = 0; count < 230; count += 1)
      for (const on of connections) openCall(on, write.path).write(announced);
    await setTimeout(1000);
    for (const on of connections) on.destroy();
  },
  '2,000 calls that are reset at once': async () => {
    const on = await connection();
    for (let count = 0; count < 2000; count += 1) openCall(on, mkdir.path).close();
    await setTimeout(500);
    on.destroy();
  },
  '200 calls with as much metadata as permitted': async () => {
    const on = await connection();
    for (let count = 0; count < 200; count += 1)
      openCall(on, mkdir.path, { 'x-large': 'X'.repeat(30_000) }).end(header(0));
    await setTimeout(1000);
    on.destroy();
  },
  '3,000 connections that never say anything': async () => {
    const [host, port] = address.split(':');
    const sockets = Array.from({ length: 3000 }, () => connect(Number(port), host).on('error', () => undefined));
    await setTimeout(2000);
    for (const socket of sockets) socket.destroy();
  },
  '150 disks to create': async () => {
    const session = new SessionClient(client, 'CONFIG');
    const disk = { format: 'qcow2', size: 1n << 36n, preallocation: 'metadata', overwrite: true };
    await all(150, (index) => session.call('disk_create', { filename: `new${index}.qcow2`, ...disk }));
    for (let index = 0; index < 150; index += 1) rmSync(join(images, `new${index}.qcow2`), { force: true });
  },
  '300 images to measure': async () => {
    run('qemu-img', 'create', '-q', '-f', 'vdi', join(images, 'a.vdi'), '1M');
    const session = new SessionClient(client, 'CONFIG');
    await all(300, () => session.call('disk_virtual_size', { filename: 'a.vdi' }));
  },
  '64 empty sessions that want to be kept for 23 days': async () => {
    const created = await all(64, () => client.createSession({ idle_timeout: { seconds: 2_000_000n, nanos: 0 } }));
    await all(created.length, (index) => client.deleteSession((created[index] as Session).id));
  },
  '64 appliances with 23 GB and 64 processors': async () => {
    await all(64, () => client.createSession({ settings: settings({ memsize: 23_000, smp: 64 }), launch: true }));
  },
  '200 downloads that never begin, whose client goes away': async () => {
    const reading = Array.from({ length: 200 }, () =>
      new SessionClient(client, 'READY').call('read_file', { path: '/fifo' }, { deadline: Date.now() + 500 }),
    );
    await Promise.allSettled(reading);
  },
  'bytes without sense, to every method': async () => {
    const connections = await Promise.all(Array.from({ length: 4 }, connection));
    const paths = Object.values(services).flatMap((service) => Object.values(service).map(({ path }) => path));
    for (const [index, path] of paths.entries()) {
      const message = Buffer.from(Array.from({ length: 200 }, (_, at) => (index * 31 + at * at * 7) & 0xff));
      const on = connections[index % connections.length] as ClientHttp2Session;
      openCall(on, path).end(Buffer.concat([header(message.length), message]));
    }
    await setTimeout(1000);
    for (const on of connections) on.destroy();
  },
};

/** Tools take their time, and there is nothing to be compiled. */
const SLOW: ReadonlySet<string> = new Set(['150 disks to create', '300 images to measure']);

/** How many calls of others are answered while an attack lasts. */
async function answeredDuring(attack: () => Promise<void>): Promise<number> {
  let over = false;
  const attacked = attack().finally(() => {
    over = true;
  });
  attacked.catch(() => undefined); // awaited below
  let answered = 0;
  while (!over) {
    await bystander();
    answered += 1;
  }
  await attacked;
  return answered;
}

it.each(Object.entries(ATTACKS))(
  '%s',
  async (_name, attack) => {
    let longest = Infinity;
    for (let round = 0; round < ROUNDS && longest >= LIMIT_MS; round += 1) {
      await longestTurn();
      expect(await answeredDuring(attack)).toBeGreaterThan(0);
      longest = await longestTurn();
    }
    expect(longest).toBeLessThan(LIMIT_MS);
    expect(memory()).toBeLessThan(1000);
  },
  // A round of 300 images takes more than a minute on two busy cores.
  ROUNDS * 120_000,
);
