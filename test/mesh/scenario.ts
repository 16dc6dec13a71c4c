/**
 * What must hold behind every proxy, with its configuration of `deploy/`: sessions reach their replicas, large files and
 * silent calls get through, and replicas that come, go and die cost no session but their own.
 */
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, jest } from '@jest/globals';
import type { Session } from '../../gen/proto/guestfs/v1/session.js';
import { SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { builtAppliance } from '../support/appliance.js';
import { eventually } from '../support/eventually.js';
import { itWhen } from '../support/itWhen.js';
import { residentMemory, resetPeakMemory } from '../support/processes.js';
import { failureOf, SessionClient, type TestClient } from '../support/testClient.js';
import { asAsked, Load } from './load.js';
import { DRAIN_DELAY, Mesh, type MeshReplica } from './mesh.js';
import type { ProxyKind } from './proxy.js';

jest.setTimeout(240_000);

const SESSIONS = 200;
/** Those that are changed while replicas come and go. */
const BUSY = 60;
const MEBIBYTE = 1 << 20;
const FILE_MIB = 256;
/** How long a call says nothing: longer than a minute, the default of nginx and many others; of Envoy, 15 s. */
const SILENT_SECONDS = Number(process.env['GUESTFS_GRPC_TEST_SILENCE'] ?? 65);
/** What a file of 256 MiB may add to the memory of those that it passes. */
const PROXY_GROWTH_MIB = 64;
const SERVER_GROWTH_MIB = 160;

/** The file, in pieces that differ. */
async function* file(hash: Hash): AsyncGenerator<Buffer> {
  for (let count = 0; count < FILE_MIB; count += 1) {
    const piece = Buffer.alloc(MEBIBYTE, `piece ${count} `);
    hash.update(piece);
    yield piece;
  }
}

/** Why the scenario cannot be run here. */
function missing(kind: ProxyKind): string | undefined {
  if (kind.find() === undefined) return `${kind.name} is not installed`;
  return builtAppliance('trixie') === undefined ? 'there is no appliance: npm run appliance' : undefined;
}

/** Defines the tests. */
export function testBehind(kind: ProxyKind): void {
  const lacking = missing(kind);
  const it = itWhen(`replicas behind ${kind.name}`, lacking);

  describe(`replicas behind ${kind.name}`, () => {
    let mesh: Mesh;
    let clients: readonly TestClient[];
    let sessions: Session[];
    /** What silent calls and streams are waited for. */
    let silence: { readonly call: Promise<unknown>; readonly events: () => number; readonly broken: () => unknown };
    const replica = (index: number): MeshReplica => mesh.replicas[index] as MeshReplica;
    const of = (index: number): Session[] => sessions.filter(({ endpoint }) => endpoint === replica(index).address);
    const any = (index: number): TestClient => clients[index % clients.length] as TestClient;

    beforeAll(async () => {
      if (lacking !== undefined) return;
      mesh = new Mesh(kind);
      await mesh.start();
      clients = Array.from({ length: 4 }, () => mesh.client());
    });
    afterAll(async () => {
      if (lacking !== undefined) return;
      if (process.env['GUESTFS_GRPC_TEST_LOG']) process.stderr.write(mesh.proxy.log());
      await mesh.stop();
    });

    /** Launches a session that has no drives yet. */
    async function launch({ id }: Session, size: number): Promise<SessionClient> {
      const session = new SessionClient(any(0), id);
      await session.call('add_drive_scratch', { size: BigInt(size) });
      await session.call('launch');
      return session;
    }

    const create = (number: number): Promise<Session> =>
      asAsked(() => any(number).createSession({ labels: new Map([['number', String(number)]]) }));
    const get = (number: number, { id }: Session): Promise<Session> => asAsked(() => any(number).getSession(id));

    it(`has ${SESSIONS} sessions on all replicas, and each call reaches its own`, async () => {
      // It may not know yet that all of them are there.
      const seen = new Set<string>();
      await eventually(async () => seen.add((await create(0)).endpoint).size === 3);
      sessions = await Promise.all(Array.from({ length: SESSIONS }, (_, number) => create(number)));
      expect(new Set(sessions.map(({ endpoint }) => endpoint)).size).toBe(3);
      // On another connection than the one that made it.
      await Promise.all(
        sessions.map(async (session, number) => {
          const { id, endpoint } = session;
          const other = new SessionClient(any(number + 1), id);
          await asAsked(() => other.call('set_memsize', { memsize: 600 + number }));
          const found = await get(number + 1, session);
          expect([found.labels.get('number'), found.endpoint]).toEqual([String(number), endpoint]);
        }),
      );
      const set = sessions.map(({ id }, number) =>
        asAsked(() => new SessionClient(any(number + 2), id).call('get_memsize')),
      );
      expect(await Promise.all(set)).toEqual(sessions.map((_, number) => 600 + number));
      const { sessions: listed, missing: without } = await any(0).call(SessionServiceService.listSessions, {
        ...{ page_size: 1000, page_token: '', all_replicas: true },
      });
      // Besides the one that has not been added yet, a busy one may not have answered in time.
      const silent = without.map(({ address }) => address);
      expect(silent).toContain(replica(3).address);
      const expected = sessions.filter(({ endpoint }) => !silent.includes(endpoint)).map(({ id }) => id);
      expect(listed.map(({ id }) => id)).toEqual(expect.arrayContaining(expected));
    });

    it('keeps clients apart, if the proxy can tell who they are', async () => {
      const { id } = sessions[0] as Session;
      const stranger = mesh.client('stranger');
      const found = asAsked(() => stranger.getSession(id));
      if (kind.identifiesClients) expect((await failureOf(found)).info?.reason).toBe('SESSION_UNKNOWN');
      else await found;
    });

    it('starts silent calls', async () => {
      const session = await launch(of(2)[0] as Session, MEBIBYTE);
      const subscription = await any(1).subscribe((of(2)[1] as Session).id);
      let broken: unknown;
      subscription.ended.catch((error: unknown) => (broken ??= error));
      const call = session.call('sleep', { secs: SILENT_SECONDS });
      call.catch(() => undefined);
      silence = { call, events: () => subscription.events.length, broken: () => broken };
    });

    it(`passes ${FILE_MIB} MiB in both directions, with flat memory`, async () => {
      const session = await launch(of(2)[2] as Session, (FILE_MIB + 1) * MEBIBYTE);
      const servers = mesh.replicas.flatMap(({ server }) => server?.process.pid ?? []);
      const before = [...mesh.proxy.pids(), ...servers].map((pid) => {
        resetPeakMemory(pid);
        return { pid, isServer: servers.includes(pid), mib: residentMemory(pid).now / MEBIBYTE };
      });
      const [sent, received] = [createHash('sha256'), createHash('sha256')];
      await session.upload('upload', { remotefilename: '/dev/sda' }, file(sent));
      const whole = await session.download('download_offset', {
        ...{ remotefilename: '/dev/sda', offset: 0n, size: BigInt(FILE_MIB * MEBIBYTE) },
      });
      expect(received.update(whole).digest('hex')).toBe(sent.digest('hex'));
      const growth = before.map(({ pid, isServer, mib }) => ({
        isServer,
        mib: Math.round(residentMemory(pid).peak / MEBIBYTE - mib),
      }));
      process.stderr.write(`memory behind ${kind.name}, MiB: ${JSON.stringify(growth)}\n`);
      for (const { isServer, mib } of growth) expect(mib).toBeLessThan(isServer ? SERVER_GROWTH_MIB : PROXY_GROWTH_MIB);
    });

    it(`does not end a call, or a stream, that has been silent for ${SILENT_SECONDS} s`, async () => {
      await silence.call;
      expect(silence.broken()).toBeUndefined();
      const { id } = of(2)[1] as Session;
      const seen = silence.events();
      await new SessionClient(any(0), id).call('set_trace', { trace: true });
      await new SessionClient(any(0), id).call('get_memsize');
      await eventually(() => silence.events() > seen, 5000);
    });

    it('loses no session of a living replica when replicas are added, drained and killed', async () => {
      const [drained, killed, kept, added] = [replica(0), replica(1), replica(2), replica(3)];
      const each = BUSY / 3;
      const load = new Load(clients, [...of(0).slice(-each), ...of(1).slice(-each), ...of(2).slice(-each)]);
      const worksOf = ({ address }: MeshReplica) => load.works.filter(({ endpoint }) => endpoint === address);
      const failuresOf = (which: MeshReplica, from: number, to?: number) =>
        worksOf(which).flatMap((work) => work.between(from, to));
      const started = performance.now();

      await setTimeout(1000);
      await mesh.startReplica(added);
      await mesh.added();
      await eventually(async () => (await create(0)).endpoint === added.address);
      expect([drained, killed, kept].flatMap((which) => failuresOf(which, started))).toEqual([]);

      const drainedAt = performance.now();
      const exit = once(drained.server?.process as NodeJS.EventEmitter, 'exit');
      drained.server?.process.kill('SIGTERM');
      // It serves on, on other connections.
      await setTimeout(DRAIN_DELAY * 900);
      const inLameDuck = performance.now();
      // A call that is on its way when a connection is given up is the proxy's to repeat.
      const expected = (text: string) => kind.missesGoaway && text.endsWith('HTTP status code 502');
      const unexpected = (failures: readonly string[]) => failures.filter((text) => !expected(text));
      expect(unexpected(failuresOf(drained, drainedAt, inLameDuck))).toEqual([]);
      if (kind.asksForHealth)
        for (let count = 0; count < 20; count += 1) expect((await create(count)).endpoint).not.toBe(drained.address);
      expect(await exit).toEqual([0, null]);
      await setTimeout(2000);
      expect(unexpected([killed, kept].flatMap((which) => failuresOf(which, drainedAt)))).toEqual([]);

      const killedAt = performance.now();
      killed.server?.process.kill('SIGKILL');
      await setTimeout(8000);
      const settledAt = performance.now();
      await setTimeout(3000);
      await load.stop();
      // What was on its way through the one that was killed may have failed, nothing else.
      expect(failuresOf(kept, settledAt)).toEqual([]);
      process.stderr.write(`failures behind ${kind.name}: ${JSON.stringify(failuresOf(kept, killedAt))}\n`);
      expect(failuresOf(kept, killedAt).filter((text) => /SESSION_|NOT_FOUND/.test(text))).toEqual([]);

      for (const session of of(2)) await get(0, session);
      for (const session of [of(0)[0], of(1)[0]])
        expect((await failureOf(get(0, session as Session))).info?.reason).toBe('SESSION_LOST');
      // Each call was carried out once, however often it was repeated by its client or by the proxy.
      for (const { id, succeeded } of worksOf(kept))
        expect(await asAsked(() => any(0).getSession(id))).toMatchObject({ drives: succeeded });
      await create(0);
    });

    it('ends without a loss', async () => {
      const ends = await Promise.all([2, 3].map(async (index) => replica(index).server?.stop()));
      for (const index of [2, 3]) replica(index).server = undefined;
      expect(ends.map((end) => end?.code)).toEqual([0, 0]);
    });
  });
}
