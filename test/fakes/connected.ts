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
  /** The progress messages received. */
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

/** The options of a transfer that is not cancelled, or only by `signal`. */
export function transfer(signal: AbortSignal = new AbortController().signal): TransferOptions {
  return { signal };
}

/** The error of a promise; fails if it does not reject. */
export async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`it worked: ${String(value)}`);
}

/** The error that a function throws; fails if it does not throw. */
export function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

/** Checks that the connection is idle: the next call succeeds. */
export async function expectRest({ daemon, connection }: Connected): Promise<void> {
  const answer = connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION);
  const call = await daemon.nextCall();
  expect(call.procedure).toBe(isDir.procedure);
  await daemon.reply(call, word(1));
  expect(await answer).toEqual({ dirflag: true });
  expect(connection.failure).toBeUndefined();
}

/** Checks that the connection is closed permanently, with the reason. */
export async function expectClosed({ daemon, connection }: Connected, reason: string): Promise<void> {
  await connection.closed;
  expect(connection.failure?.reason).toBe(reason);
  await daemon.closed();
  const later = await failureOf(connection.call(isDir, { path: '/', followsymlinks: undefined }, VERSION));
  expect(later).toMatchObject({ reason: 'APPLIANCE_GONE' });
}
