/**
 * Clients that never stop: each changes a session of its own, call by call, and counts. Every call adds a drive, so that
 * the number of drives shows whether one was carried out twice, or never. A call whose outcome is unknown is repeated
 * with its request ID until it is known.
 */
import { randomUUID } from 'node:crypto';
import type { GuestfsRpcError } from '../../clients/typescript/src/index.js';
import { failureOf, SessionClient, type TestClient } from '../support/testClient.js';

/** Between two calls of one session, milliseconds. */
const PAUSE_MS = 60;
/** A session has at most 255. */
const MOST_DRIVES = 240;
const SIZE = 1n << 20n;

export interface Failure {
  readonly at: number;
  readonly error: GuestfsRpcError;
}

/** What the client of one session has seen. */
export class Work {
  succeeded = 0;
  readonly failures: Failure[] = [];

  constructor(
    readonly id: string,
    readonly endpoint: string,
  ) {}

  /** The failures between two times, as texts. */
  between(from: number, to = Infinity): string[] {
    return this.failures
      .filter(({ at }) => at >= from && at < to)
      .map(({ at, error }) => `${Math.round(at - from)} ms: ${error.info?.reason ?? error.code}: ${error.details}`);
  }
}

/** Makes a call, and repeats it as often as the server asks for that: only if its error has a RetryInfo. */
export async function asAsked<Answer>(call: () => Promise<Answer>, limitMs = 60_000): Promise<Answer> {
  const limit = performance.now() + limitMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const later = (error as Partial<GuestfsRpcError>).info?.retryAfterMs;
      if (later === undefined || performance.now() > limit) throw error;
      await new Promise((resolve) => setTimeout(resolve, later));
    }
  }
}

export class Load {
  readonly works: readonly Work[];
  readonly #working: Promise<unknown>;
  #over = false;

  constructor(clients: readonly TestClient[], sessions: readonly { readonly id: string; readonly endpoint: string }[]) {
    this.works = sessions.map(({ id, endpoint }) => new Work(id, endpoint));
    this.#working = Promise.all(
      this.works.map((work, index) => this.#work(work, clients[index % clients.length] as TestClient)),
    );
  }

  async stop(): Promise<void> {
    this.#over = true;
    await this.#working;
  }

  async #work(work: Work, client: TestClient): Promise<void> {
    const session = new SessionClient(client, work.id);
    let requestId = randomUUID();
    let unknown = false;
    while ((unknown || !this.#over) && work.succeeded + work.failures.length < MOST_DRIVES) {
      const at = performance.now();
      const call = session.call('add_drive_scratch', { size: SIZE }, { requestId });
      const failed = await call.then(
        () => undefined,
        () => failureOf(call),
      );
      if (failed === undefined) work.succeeded += 1;
      // What the server itself asks to repeat is no failure, and was not carried out.
      const later = failed?.info?.retryAfterMs;
      if (failed !== undefined && later === undefined) work.failures.push({ at, error: failed });
      if (failed?.info?.reason === 'SESSION_LOST') return;
      // What the server refuses, it has not done; without its answer, nobody knows.
      unknown = failed !== undefined && (failed.info === undefined || failed.info.reason === 'OUTCOME_UNKNOWN');
      if (!unknown) requestId = randomUUID();
      await new Promise((resolve) => setTimeout(resolve, later ?? PAUSE_MS));
    }
  }
}
