/** A soak: sessions with random work whose answers are checked, a fault every few seconds, and no leak afterwards. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import { LaunchKind, SessionServiceService } from '../../gen/proto/guestfs/v1/session.js';
import { FILE_SYSTEMS, SUBJECTS, type FileSystem, type Subject } from '../durability/fileSystems.js';
import { Random } from '../fuzz/engine/random.js';
import { eventually } from '../support/eventually.js';
import { scratchDrive, TestClient } from '../support/testClient.js';
import { endOfLog, startProgramServer } from '../support/programServer.js';
import { CLEAN_END, type ServerEnd, type TestServer } from '../support/testServer.js';
import { Latencies, leaks, usageOf, type Usage } from './figures.js';
import { fillDisk, SmallDisk } from './fullDisk.js';
import { Worker, type Fault } from './worker.js';

const SESSIONS = 8;
/** The next fault comes after at most this time, milliseconds. */
const FAULT_INTERVAL_MS = 5000;
/** Each other fault is as frequent as kills; a full disk, which takes longest, is rarer. */
const FAULTS: readonly (Fault | 'full disk')[] = [
  ...(['kill', 'stop', 'disconnect', 'kill', 'stop', 'disconnect'] as const),
  'full disk',
];
/** A stopped qemu is noticed after this time, seconds. */
const UNRESPONSIVE_S = 6;
const REPORT_INTERVAL_MS = 60_000;
/** How often a session is launched until the server has a template. */
const MOST_LAUNCHES = 20;
/** After the last session, the server has this long to release what it used, milliseconds. */
const RELEASE_MS = 15_000;

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  readonly say: (line: string) => void;
}

/** What was found. */
export interface SoakOutcome {
  readonly faults: readonly string[];
  /** Figures, for people. */
  readonly figures: readonly string[];
  /** What could not be tried, and why. */
  readonly skipped: readonly string[];
}

/** Runs a soak. */
export async function runSoak({ minutes, seed, say }: SoakOptions): Promise<SoakOutcome> {
  const random = new Random(seed);
  const directory = await mkdtemp(join(tmpdir(), 'soak-'));
  const server = await startProgramServer({
    flags: ['--image-root', directory, '--debug-service', '--unresponsive-timeout', String(UNRESPONSIVE_S)],
  });
  const client = new TestClient(server.address);
  const disk = process.geteuid?.() === 0 ? new SmallDisk(join(directory, 'small')) : undefined;
  let end: Promise<ServerEnd> | undefined;
  const stop = (): Promise<ServerEnd> => {
    client.close();
    return (end ??= server.stop());
  };
  const halves = [new Latencies(), new Latencies()] as const;
  const began = performance.now();
  const durationMs = minutes * 60_000;
  const over = (): boolean => performance.now() >= began + durationMs;
  const half = (): number => (performance.now() < began + durationMs / 2 ? 0 : 1);
  const workers = Array.from(
    { length: SESSIONS },
    (_, index) =>
      new Worker({
        server,
        directory,
        name: `${index + 1}-`,
        ...(SUBJECTS[index % SUBJECTS.length] as Subject),
        random: new Random(random.bits()),
        latencies: () => halves[half()] as Latencies,
      }),
  );
  const counts = new Map<Fault | 'full disk', number>();
  const faults: string[] = [];
  /** A full disk takes several seconds, in which other faults go on. */
  let filling: Promise<void> | undefined;
  const fill = (small: SmallDisk): boolean => {
    if (filling !== undefined) return false;
    filling = fillDisk(client, small, FILE_SYSTEMS[0] as FileSystem, random).then((wrong) => {
      faults.push(...wrong);
      filling = undefined;
    });
    return true;
  };
  const inject = async (): Promise<void> => {
    while (!over()) {
      await Promise.race([sleep(random.below(FAULT_INTERVAL_MS)), rejectedBy(filling)]);
      const fault = random.of(FAULTS);
      const done = fault === 'full disk' ? disk !== undefined && fill(disk) : random.of(workers).inject(fault);
      if (done) counts.set(fault, (counts.get(fault) ?? 0) + 1);
    }
    await filling;
  };
  const report = setInterval(() => say(`${shown(usageOf(server))}; ${calls(workers)} calls`), REPORT_INTERVAL_MS);
  try {
    await untilTemplate(client);
    await Promise.all(workers.map((worker) => worker.prepare()));
    const before = await released(server, client);
    say(`before: ${shown(before)}`);
    await Promise.all([...workers.map((worker) => worker.run(over)), inject()]);
    await Promise.all(workers.map((worker) => worker.finish()));
    const after = await released(server, client);
    faults.push(...workers.flatMap(({ lane }) => lane.faults), ...leaks(before, after));
    const ended = await stop();
    if (!isDeepStrictEqual(ended, CLEAN_END)) faults.push(`the server did not end cleanly: ${JSON.stringify(ended)}`);
    return {
      faults,
      figures: [
        `before: ${shown(before)}`,
        `after: ${shown(after)}`,
        `first half: ${String(halves[0])}`,
        `second half: ${String(halves[1])}`,
        `faults: ${[...counts].map(([fault, count]) => `${count} ${fault}`).join(', ')}`,
        `images examined: ${workers.reduce((sum, { lane }) => sum + lane.figures.examined, 0)}`,
      ],
      skipped: disk === undefined ? ['full disk: only root can mount a small file system'] : [],
    };
  } catch (error) {
    say(endOfLog(server));
    throw error;
  } finally {
    clearInterval(report);
    await stop();
    disk?.remove();
    await rm(directory, { recursive: true, force: true });
  }
}

/** Rejects with a promise, and never resolves. */
async function rejectedBy(promise: Promise<void> | undefined): Promise<never> {
  await promise;
  return new Promise<never>(() => undefined);
}

/** Launches sessions until one is a clone: then the server has made its template, which is no leak. */
async function untilTemplate(client: TestClient): Promise<void> {
  for (let launches = 0; launches < MOST_LAUNCHES; launches += 1) {
    const { id } = await client.createSession({ drives: [scratchDrive(1 << 20)], launch: true });
    const { launch_kind } = await client.getSession(id);
    await client.deleteSession(id);
    if (launch_kind === LaunchKind.TEMPLATE) return;
  }
  throw new Error(`none of ${MOST_LAUNCHES} sessions was cloned from a template`);
}

/** What the server uses when the last session has gone. */
async function released(server: TestServer, client: TestClient): Promise<Usage> {
  await eventually(() => server.machines().length === 0, RELEASE_MS).catch(() => undefined);
  const { sessions } = await client.call(SessionServiceService.listSessions, {
    page_size: 0,
    page_token: '',
    all_replicas: false,
  });
  if (sessions.length > 0) throw new Error(`${sessions.length} sessions are left`);
  return usageOf(server);
}

function calls(workers: readonly Worker[]): number {
  return workers.reduce((sum, { lane }) => sum + lane.figures.calls, 0);
}

function shown({ rssMib, descriptors, processes, runFiles }: Usage): string {
  return `RSS ${rssMib} MiB, ${descriptors} descriptors, ${processes} processes, ${runFiles} files in run directories`;
}
