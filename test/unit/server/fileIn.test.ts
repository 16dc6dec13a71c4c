import { describe, expect, it } from '@jest/globals';
import { GuestfsError } from '../../../src/common/errors.js';
import { CHUNK_LIMIT, fileChunks, readArguments } from '../../../src/server/fileIn.js';
import type { FileMessage } from '../../../src/server/fileMessages.js';
import { Undecodable } from '../../../src/server/decoding.js';
import { HeldMessage } from '../../../src/server/requestFlow.js';

const args: FileMessage = { payload: { $case: 'arguments', value: { progress_hint: undefined } } };
const chunk = (text: string): FileMessage => ({ payload: { $case: 'chunk', value: Buffer.from(text) } });
const never = new AbortController().signal;

/** A stream of messages that records which were released. */
function stream(...messages: (FileMessage | Undecodable)[]) {
  const released: number[] = [];
  const iterator = (async function* () {
    for (const [index, message] of messages.entries()) yield new HeldMessage(message, () => released.push(index));
  })();
  return { iterator, released };
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  return promise.then(
    () => 'none',
    (error: unknown) => (error as GuestfsError).reason,
  );
}

async function collect(chunks: AsyncIterable<Buffer>): Promise<string> {
  let all = '';
  for await (const one of chunks) all += one.toString();
  return all;
}

describe('a client stream', () => {
  it('has its arguments first and its file after', async () => {
    const { iterator, released } = stream(args, chunk('a'), chunk(''), chunk('b'));
    expect(await readArguments(iterator, never)).toEqual({ progress_hint: undefined });
    expect(await collect(fileChunks(iterator))).toBe('ab');
    expect(released).toEqual([0, 1, 2, 3]);
  });

  it('releases a chunk only when the next one is requested', async () => {
    const { iterator, released } = stream(args, chunk('a'), chunk('b'));
    await readArguments(iterator, never);
    const chunks = fileChunks(iterator);
    await chunks.next();
    expect(released).toEqual([0]);
    await chunks.next();
    expect(released).toEqual([0, 1]);
  });

  it('is refused if it starts with a chunk', async () => {
    expect(await reasonOf(readArguments(stream(chunk('a')).iterator, never))).toBe('BAD_ARGUMENT');
  });

  it('is refused when it ends without arguments', async () => {
    expect(await reasonOf(readArguments(stream().iterator, never))).toBe('BAD_ARGUMENT');
  });

  it('is refused when a message sets nothing', async () => {
    expect(await reasonOf(readArguments(stream({ payload: undefined }).iterator, never))).toBe('BAD_ARGUMENT');
  });

  it('is refused if arguments are sent twice', async () => {
    const { iterator } = stream(args, chunk('a'), args);
    await readArguments(iterator, never);
    expect(await reasonOf(collect(fileChunks(iterator)))).toBe('BAD_ARGUMENT');
  });

  it('is refused when a chunk is too large, with the limit in the error', async () => {
    const { iterator } = stream(args, chunk('x'.repeat(CHUNK_LIMIT)), chunk('x'.repeat(CHUNK_LIMIT + 1)));
    await readArguments(iterator, never);
    await expect(collect(fileChunks(iterator))).rejects.toMatchObject({
      reason: 'CHUNK_TOO_LARGE',
      message: expect.stringContaining(String(CHUNK_LIMIT)),
    });
  });

  it('is refused when a message cannot be decoded', async () => {
    const { iterator } = stream(new Undecodable(new GuestfsError('BAD_ARGUMENT', 'no')));
    expect(await reasonOf(readArguments(iterator, never))).toBe('BAD_ARGUMENT');
  });

  it('ends if the client disconnects before it has sent anything', async () => {
    const silent: AsyncIterator<HeldMessage<FileMessage>> = { next: () => new Promise(() => undefined) };
    const gone = new AbortController();
    const reading = readArguments(silent, gone.signal);
    gone.abort(new GuestfsError('CANCELLED', 'gone'));
    expect(await reasonOf(reading)).toBe('CANCELLED');
  });
});
