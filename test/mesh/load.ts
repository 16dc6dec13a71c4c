/**
 * Clients that never stop: each changes a session of its own, call by call, and counts. Every call adds a drive, so that
 * the number of drives shows whether one was carried out twice, or never.
 */
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

  /** Calls whose outcome the client does not know. */
  get unknown(): number {
    // What the server refuses, it has not done.
    return this.failures.filter(({ error: { info } }) => info === undefined || info.reason === 'OUTCOME_UNKNOWN')
      .length;
  }

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
    while (!this.#over && work.succeeded + work.failures.length < MOST_DRIVES) {
      const at = performance.now();
      const call = session.call('add_drive_scratch', { size: SIZE }).then(() => void (work.succeeded += 1));
      const failed = await call.then(
        () => undefined,
        () => failureOf(call),
      );
      // What the server itself asks to repeat is no failure, and was not carried out.
      const later = failed?.info?.retryAfterMs;
      if (failed !== undefined && later === undefined) work.failures.push({ at, error: failed });
      if (failed?.info?.reason === 'SESSION_LOST') return;
      await new Promise((resolve) => setTimeout(resolve, later ?? PAUSE_MS));
    }
  }
}
