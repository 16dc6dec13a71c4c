/** One of the sessions of a soak: its own client, over connections that can be cut, and an image under load. */
import { status } from '@grpc/grpc-js';
import { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { Lane, type LaneOptions } from '../durability/lane.js';
import type { Random } from '../fuzz/engine/random.js';
import { cuttableProxy, type CuttableProxy } from '../support/cuttableProxy.js';
import { qemuOf } from '../support/qemuOf.js';
import { TestClient } from '../support/testClient.js';
import type { TestServer } from '../support/testServer.js';
import type { Latencies } from './figures.js';
import { ask } from './questions.js';

/** What happens to a worker's session: qemu is killed or stopped, or its client disconnects in the middle of a call. */
export type Fault = 'kill' | 'stop' | 'disconnect';

export interface WorkerOptions extends Pick<LaneOptions, 'name' | 'directory' | 'fileSystem' | 'format'> {
  readonly server: TestServer;
  readonly random: Random;
  /** Where the time of each call is added. */
  readonly latencies: () => Latencies;
}

export class Worker {
  readonly lane: Lane;
  #proxy: CuttableProxy | undefined;
  #client: TestClient | undefined;
  /** What happened last, and to which session: it may have ended before it noticed. */
  #fault: Fault | undefined;
  #hit: string | undefined;

  constructor(private readonly options: WorkerOptions) {
    const { random, latencies } = options;
    this.lane = new Lane({
      ...options,
      onChanged: (ms) => latencies().add(ms),
      ask: async (session, files) => {
        const began = performance.now();
        const wrong = await ask(session, files, random);
        latencies().add(performance.now() - began);
        return wrong;
      },
    });
  }

  async prepare(): Promise<void> {
    await this.lane.prepare(await this.#connect());
  }

  /** Works until it is over, whatever happens to its sessions. */
  async run(over: () => boolean): Promise<void> {
    while (!over()) {
      this.#fault = undefined;
      await this.lane.run(await this.#connect(), { doomed: () => this.#fault !== undefined, over });
      if (this.#fault !== undefined) await this.#cleanUp(this.#fault);
    }
  }

  /** Examines the image once more. */
  async finish(): Promise<void> {
    await this.lane.finish(await this.#connect());
    this.#client?.close();
    await this.#proxy?.close();
  }

  /** Makes a fault happen, if the session is at work and nothing has happened to it yet. */
  inject(fault: Fault): boolean {
    const { session, loading } = this.lane;
    if (!loading || session === undefined || session === this.#hit) return false;
    const pid = qemuOf(session);
    if (pid === undefined) return false;
    this.#fault = fault;
    this.#hit = session;
    if (fault === 'disconnect') {
      this.#proxy?.cut();
      return true;
    }
    process.kill(pid, fault === 'kill' ? 'SIGKILL' : 'SIGSTOP');
    return true;
  }

  /** Ends the session that a fault has hit, as a new client would. */
  async #cleanUp(fault: Fault): Promise<void> {
    const client = await this.#connect();
    if (this.lane.session === undefined) return;
    if (fault === 'disconnect') await unlessGone(this.lane.endInOrder(client));
    else await unlessGone(client.sessionAt(this.lane.session).endByForce());
    this.lane.examineFile();
  }

  /** A client that is connected anew after a cut. */
  async #connect(): Promise<TestClient> {
    if (this.#client !== undefined && this.#fault !== 'disconnect') return this.#client;
    this.#client?.close();
    await this.#proxy?.close();
    this.#proxy = await cuttableProxy(this.options.server.address);
    this.#client = new TestClient(this.#proxy.address);
    return this.#client;
  }
}

/** A session whose deletion had been asked for may be gone. */
async function unlessGone(deletion: Promise<void>): Promise<void> {
  try {
    await deletion;
  } catch (error) {
    if (!(error instanceof GuestfsRpcError) || error.code !== status.NOT_FOUND) throw error;
  }
}
