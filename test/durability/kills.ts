/** Kills of qemu, of the server and of both under load: nothing that was acknowledged may be lost. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../fuzz/engine/random.js';
import { eventually } from '../support/eventually.js';
import { qemuOf } from '../support/qemuOf.js';
import { TestClient } from '../support/testClient.js';
import type { TestServer } from '../support/testServer.js';
import { endOfLog, startProgramServer } from '../support/programServer.js';
import { SUBJECTS, type Subject } from './fileSystems.js';
import { Lane, type LaneFigures } from './lane.js';
import type { Outcome } from './outcome.js';

/** What is killed. */
type Victim = 'qemu' | 'server' | 'both';

/** In this order, again and again. A kill of a qemu concerns one image, so that there is one for each of them. */
const ROUND: readonly Victim[] = ['qemu', 'server', 'both', 'server', 'both'];
/** A kill comes within this time after the load has begun, milliseconds. */
const WINDOW_MS = 3000;
/** One kill of this many comes within this time after the session was asked for: in its launch or its examination. */
const EARLY = 4;
const POLL_MS = 50;
/** Time in which all images have been examined and are under load again, milliseconds. */
const BEGIN_LIMIT_MS = 180_000;
/** Time in which a kill has its effect, milliseconds. */
const AGAIN_MS = 1000;

export interface KillsOptions {
  readonly kills: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** By default, all. */
  readonly subjects?: readonly Subject[];
}

interface Scene {
  readonly server: TestServer;
  readonly client: TestClient;
}

/** Runs the load and the kills. */
export async function runKills({ kills, seed, say, subjects = SUBJECTS }: KillsOptions): Promise<Outcome> {
  const random = new Random(seed);
  const directory = await mkdtemp(join(tmpdir(), 'durability-'));
  const lanes = subjects.map((subject) => new Lane({ directory, ...subject, random: new Random(random.bits()) }));
  const start = async (): Promise<Scene> => {
    const server = await startProgramServer({ flags: ['--image-root', directory, '--debug-service'] });
    return { server, client: new TestClient(server.address) };
  };
  const done: Record<Victim, number> = { qemu: 0, server: 0, both: 0 };
  const count = (): number => done.qemu + done.server + done.both;
  let scene = await start();
  try {
    await Promise.all(lanes.map((lane) => lane.prepare(scene.client)));
    say('images prepared');
    for (let round = 0; count() < kills; round += 1) {
      const victim = ROUND[round % ROUND.length] as Victim;
      if (victim === 'qemu') {
        const concerned = lanes.slice(0, kills - count());
        await Promise.all(concerned.map((lane) => killQemu(lane, scene, random)));
        done.qemu += concerned.length;
      } else {
        await killServer(victim, lanes, scene, random);
        done[victim] += 1;
        scene = await start();
      }
      say(`${count()} kills of ${kills}; ${shown(total(lanes))}`);
    }
    await Promise.all(lanes.map((lane) => lane.finish(scene.client)));
  } catch (error) {
    say(endOfLog(scene.server));
    throw error;
  } finally {
    scene.client.close();
    await scene.server.stop();
    await rm(directory, { recursive: true, force: true });
  }
  say(`${done.qemu} kills of qemu, ${done.server} of the server, ${done.both} of both; ${shown(total(lanes))}`);
  return {
    name: 'kills',
    faults: lanes.flatMap(({ faults }) => faults),
    checked: total(lanes).examined,
  };
}

/** Waits for a random time: mostly after the load has begun, sometimes earlier. */
async function pause(random: Random, lanes: readonly Lane[]): Promise<void> {
  const early = random.once(EARLY);
  const time = random.below(WINDOW_MS);
  const before = lanes.map(({ figures }) => figures.calls);
  const began = (): boolean => lanes.every(({ figures }, index) => figures.calls > (before[index] ?? 0));
  if (!early) await eventually(began, BEGIN_LIMIT_MS);
  await sleep(time);
}

async function killQemu(lane: Lane, { client }: Scene, random: Random): Promise<void> {
  let doomed = false;
  let over = false;
  const running = lane.run(client, { doomed: () => doomed }).finally(() => (over = true));
  const cut = async (): Promise<void> => {
    await pause(random, [lane]);
    // A qemu that is killed in a launch is replaced, and one that is killed at its end may not be missed.
    while (!over) {
      const pid = lane.session === undefined ? undefined : qemuOf(lane.session);
      doomed ||= pid !== undefined;
      if (pid !== undefined) kill(pid);
      await sleep(pid === undefined ? POLL_MS : AGAIN_MS);
    }
  };
  await Promise.all([running, cut()]);
  // Resolves when qemu has ended, so that nothing has the image open.
  if (lane.session !== undefined)
    await client
      .sessionAt(lane.session)
      .endByForce()
      .catch(() => undefined);
  lane.examineFile();
}

async function killServer(
  victim: 'server' | 'both',
  lanes: readonly Lane[],
  { server, client }: Scene,
  random: Random,
): Promise<void> {
  let doomed = false;
  const running = Promise.all(lanes.map((lane) => lane.run(client, { doomed: () => doomed })));
  const cut = async (): Promise<void> => {
    await pause(random, lanes);
    doomed = true;
    const qemus = victim === 'both' ? server.machines().map(({ pid }) => pid) : [];
    const all = [...qemus, server.process.pid as number];
    if (random.once(2)) all.reverse();
    for (const pid of all) kill(pid);
    // None of them may outlive its server, and none that is only being started may begin to use its image now.
    await eventually(() => server.processes().length === 0);
  };
  await Promise.all([running, cut()]);
  client.close();
  await server.stop('SIGKILL');
  for (const lane of lanes) lane.examineFile();
}

/** Kills a process, unless it died with another. */
function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

function total(lanes: readonly Lane[]): LaneFigures {
  const sum = { ...(lanes[0] as Lane).figures };
  for (const { figures } of lanes.slice(1))
    for (const key of Object.keys(sum) as (keyof LaneFigures)[]) sum[key] += figures[key];
  return sum;
}

function shown({ calls, crashes, examined, promises, promisedFiles, openFiles, newestFiles }: LaneFigures): string {
  return [
    `${calls} calls with ${promises} promises`,
    `${crashes} crashes of an image`,
    `${examined} examined`,
    `${promisedFiles} promised files compared`,
    `${newestFiles} of ${openFiles} unpromised changes kept`,
  ].join(', ');
}
