/**
 * Losses of power of the host. The image is on a disk with a volatile cache, which is served to qemu over NBD and
 * remembers each write and flush. After the load, images of what a loss of power may have left are made for many
 * moments, and examined: nothing that had been acknowledged may be missing.
 */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GuestfsRpcError } from '../../../clients/typescript/src/index.js';
import type { DriveSpec } from '../../../gen/proto/guestfs/v1/session.js';
import { Random } from '../../fuzz/engine/random.js';
import { run } from '../../support/diskImages.js';
import { qemuNbd, type DiskServer } from '../../support/diskServers.js';
import { serveNbd, type ServedDisk } from '../../support/nbdServer.js';
import { imageDrive, remoteDrive, SessionClient, TestClient } from '../../support/testClient.js';
import { endOfLog, startProgramServer } from '../../support/programServer.js';
import { examine, imageFault } from '../examine.js';
import { FILE_SYSTEMS, nameOf, SUBJECTS, type FileSystem, type Subject } from '../fileSystems.js';
import { Ledger } from '../ledger.js';
import { Load, makeFileSystem, mount } from '../load.js';
import type { Outcome } from '../outcome.js';
import { VolatileDisk, type Loss } from './volatileDisk.js';

/** Calls of the load for each moment that is examined, and at least. */
const CALLS_EACH = 5;
const LEAST_CALLS = 60;
/** Room for qcow2's own tables, MiB. */
const TABLES_MIB = 16;
/** File systems at a time: as many as test machines have processors. */
const AT_A_TIME = 2;

export interface PowerLossOptions {
  /** Moments for each file system and format. */
  readonly cuts: number;
  readonly seed: number;
  readonly say: (line: string) => void;
  /** By default, all. */
  readonly subjects?: readonly Subject[];
}

/** What was done to a disk. */
interface Recording extends Subject {
  readonly disk: VolatileDisk;
  readonly ledger: Ledger;
  /** The moment when the file system had been made. */
  readonly begin: number;
}

/** Runs the load, and examines what losses of power may leave. */
export async function runPowerLoss({ cuts, seed, say, subjects = SUBJECTS }: PowerLossOptions): Promise<Outcome> {
  const seeds = new Random(seed);
  const directory = await mkdtemp(join(tmpdir(), 'power-loss-'));
  const server = await startProgramServer({
    flags: ['--image-root', directory, '--debug-service', '--allow', 'remote-drives'],
  });
  const client = new TestClient(server.address);
  const outcome = { name: 'losses of power', faults: [] as string[], checked: 0 };
  const waiting = subjects.map((subject) => ({ subject, random: new Random(seeds.bits()) }));
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { subject, random } = next;
      const name = nameOf(subject);
      const recording = await record(client, directory, subject, cuts, random);
      say(`${name}: ${recording.disk.position} writes and flushes, ${recording.ledger.promises.length} promises`);
      const { faults, lost } = await examineCuts(client, directory, recording, cuts, random);
      outcome.checked += cuts;
      outcome.faults.push(...faults.map((fault) => `${name}: ${fault}`));
      say(`${name}: ${cuts} moments examined, at which ${lost} writes were not flushed: ${faults.length} faults`);
    }
  };
  try {
    await Promise.all(Array.from({ length: AT_A_TIME }, work));
    if (!(await noticesLostFlushes(client, directory, seeds)))
      outcome.faults.push('nothing is lost on a disk that ignores flushes: this test does not test');
  } catch (error) {
    say(endOfLog(server));
    throw error;
  } finally {
    client.close();
    await server.stop();
    await rm(directory, { recursive: true, force: true });
  }
  return outcome;
}

/** Runs the load on a new disk. */
async function record(
  client: TestClient,
  directory: string,
  { fileSystem, format }: Subject,
  cuts: number,
  random: Random,
  flushes = true,
): Promise<Recording> {
  const disk = new VolatileDisk((fileSystem.mebibytes + (format === 'raw' ? 0 : TABLES_MIB)) << 20);
  if (format !== 'raw')
    await formatDisk(disk, join(directory, `${nameOf({ fileSystem, format })}.new`), { fileSystem, format });
  const below = await serveNbd(flushes ? disk : ignoringFlushes(disk));
  // qemu writes other formats only to its own drives' files; here, another qemu does so.
  const above: DiskServer | undefined =
    format === 'raw' ? undefined : await qemuNbd(`nbd://${below.address}`, { flags: [`--format=${format}`] });
  const drive = remoteDrive({ protocol: 'nbd', server: [(above ?? below).address] }, { format: 'raw', writable: true });
  try {
    let session = await launchOn(client, drive);
    await makeFileSystem(session, fileSystem);
    const begin = disk.position;
    const ledger = new Ledger();
    const files = new Map<string, Buffer>();
    const loadOn = (): Load => new Load({ session, fileSystem, random, ledger, files, position: () => disk.position });
    let load = loadOn();
    let ended = false;
    for (let calls = 0; calls < Math.max(LEAST_CALLS, cuts * CALLS_EACH); calls += 1) {
      if (ended) {
        session = await launchOn(client, drive);
        await mount(session);
        load = loadOn();
      }
      ended = (await load.step()) === 'ended';
    }
    if (!ended) {
      await client.deleteSession(session.id);
      ledger.promise(disk.position);
    }
    return { fileSystem, format, disk, ledger, begin };
  } finally {
    await above?.stop();
    await below.stop();
  }
}

async function launchOn(client: TestClient, drive: DriveSpec): Promise<SessionClient> {
  const { id } = await client.createSession({ drives: [drive], launch: true });
  return new SessionClient(client, id);
}

/** Gives a disk the content of a new image. */
async function formatDisk(disk: VolatileDisk, path: string, { fileSystem, format }: Subject): Promise<void> {
  run('qemu-img', 'create', '-q', '-f', format, path, `${fileSystem.mebibytes}M`);
  disk.write(0, await readFile(path), false);
  disk.flush();
  await rm(path);
}

/** Examines what losses of power leave; half of the moments are those at which a promise was answered. */
async function examineCuts(
  client: TestClient,
  directory: string,
  recording: Recording,
  cuts: number,
  random: Random,
): Promise<{ readonly faults: readonly string[]; readonly lost: number }> {
  const { disk, ledger, begin } = recording;
  const faults: string[] = [];
  let lost = 0;
  const image = join(directory, `${nameOf(recording)}.cut`);
  for (let cut = 0; cut < cuts; cut += 1) {
    const atPromise = cut % 2 === 0;
    const position = atPromise ? random.of(ledger.promises) : begin + random.below(disk.position - begin + 1);
    const loss: Loss = random.of(['all', 'random', 'random', 'none']);
    disk.writeImage(image, position, loss, random);
    lost += disk.unflushedAt(position);
    const found = await faultsOf(client, image, recording, position);
    const when = `at ${position} of ${disk.position}${atPromise ? ', when a promise was answered' : ''}`;
    faults.push(...found.map((fault) => `${when}, unflushed writes lost: ${loss}: ${fault}`));
    await rm(image);
  }
  return { faults, lost };
}

/** What is wrong with an image. */
async function faultsOf(
  client: TestClient,
  image: string,
  { fileSystem, format, ledger }: Recording,
  position: number,
): Promise<string[]> {
  const damaged = imageFault(image, format);
  if (damaged !== undefined) return [damaged];
  const session = await launchOn(client, imageDrive(image, { format }));
  try {
    const { files, fault } = await examine(session, fileSystem);
    return [...ledger.compare(files, position).faults, ...(fault === undefined ? [] : [fault])];
  } catch (error) {
    if (!(error instanceof GuestfsRpcError)) throw error;
    return [`cannot be read: ${error.message}`];
  } finally {
    await client.sessionAt(session.id).endByForce();
  }
}

function ignoringFlushes(disk: VolatileDisk): ServedDisk {
  return {
    size: disk.size,
    read: (offset, length) => disk.read(offset, length),
    write: (offset, data) => disk.write(offset, data, false),
    flush: () => undefined,
  };
}

/** Whether the test fails as it should when flushes do not reach the disk. */
async function noticesLostFlushes(client: TestClient, directory: string, random: Random): Promise<boolean> {
  const subject = { fileSystem: FILE_SYSTEMS[0] as FileSystem, format: 'raw' } as const;
  const recording = await record(client, directory, subject, 1, random, false);
  const image = join(directory, 'deaf.raw');
  const position = recording.ledger.promises.at(-1) ?? 0;
  recording.disk.writeImage(image, position, 'all', random);
  return (await faultsOf(client, image, recording, position)).length > 0;
}
