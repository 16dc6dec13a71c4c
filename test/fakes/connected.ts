/** A connection to a fake daemon that is up. */
import { expect } from '@jest/globals';
import { isDir } from '../../gen/calls/file.js';
import { DaemonConnection, type TransferOptions } from '../../src/protocol/daemonConnection.js';
import { DaemonVersion } from '../../src/protocol/daemonVersion.js';
import type { ProgressMessage } from '../../src/protocol/messages.js';
import { FakeDaemon } from './fakeDaemon.js';
import { word } from './xdrBytes.js';

export const VERSION = new DaemonVersion('1.54.1');

export interface Connected {
  readonly daemon: FakeDaemon;
  readonly connection: DaemonConnection;
  /** The progress messages that came. */
  readonly progress: readonly ProgressMessage[];
}

/** @param split as of {@link FakeDaemon} */
export function connected(split?: number): Promise<Connected> {
  return connectedTo(new FakeDaemon(split === undefined ? {} : { split }));
}

export async function connectedTo(daemon: FakeDaemon): Promise<Connected> {
  const progress: ProgressMessage[] = [];
  const connection = new DaemonConnection(daemon.channel, { onProgress: (message) => progress.push(message) });
  await daemon.launch();
  await connection.awaitLaunch();
  return { daemon, connection, progress };
}

/** The options of a transfer that nobody cancels, or that `signal` does. */
export function transfer(signal: AbortSignal = new AbortController().signal): TransferOptions {
  return { signal };
}

/** What a promise is rejected with; fails if it is not. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`it worked: ${String(value)}`);
}

/** What a function throws; fails if it does not. */
export function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** The conversation is at rest: the next call works. */
export async function expectRest({ daemon, connection }: Connected): Promise<void> {
  const answer = connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION);
  const call = await daemon.nextCall();
  expect(call.procedure).toBe(isDir.procedure);
  await daemon.reply(call, word(1));
  expect(await answer).toEqual({ dirflag: true });
  expect(connection.failure).toBeUndefined();
}

/** The connection is closed for good, and says why. */
export async function expectClosed({ daemon, connection }: Connected, reason: string): Promise<void> {
  await connection.closed;
  expect(connection.failure?.reason).toBe(reason);
  await daemon.closed();
  const later = await failureOf(connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION));
  expect(later).toMatchObject({ reason: 'APPLIANCE_GONE' });
}
