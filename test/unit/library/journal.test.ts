import { describe, expect, it } from '@jest/globals';
import { ANSWER_LIMIT } from '../../../src/library/answerLimit.js';
import { journalActions } from '../../../src/library/journal.js';
import { inTurn } from './fakes.js';

function field(content: Buffer | string, length = Buffer.byteLength(content)): Buffer {
  const header = Buffer.alloc(8);
  header.writeBigUInt64BE(BigInt(length));
  return Buffer.concat([header, Buffer.from(content as string)]);
}

function entry(...fields: readonly Buffer[]): ReturnType<typeof inTurn> {
  const bytes = Buffer.concat(fields);
  return inTurn('journal_get', {
    files: {
      *internal_journal_get() {
        for (let at = 0; at < bytes.length; at += 5000) yield bytes.subarray(at, at + 5000);
      },
    },
  });
}

describe('journal_get', () => {
  it('splits an entry into fields', async () => {
    const context = entry(field('MESSAGE=a=b\0c'), field('EMPTY='), field(Buffer.from([0x58, 0x3d, 0xff])));
    expect(await journalActions.journal_get(context, {})).toEqual({
      fields: [
        { attrname: 'MESSAGE', attrval: Buffer.from('a=b\0c') },
        { attrname: 'EMPTY', attrval: Buffer.alloc(0) },
        { attrname: 'X', attrval: Buffer.from([0xff]) },
      ],
    });
  });

  it('returns no fields for an empty entry', async () => {
    expect(await journalActions.journal_get(entry(), {})).toEqual({ fields: [] });
  });

  it.each([
    ['cut off in a length', [Buffer.alloc(7)]],
    ['with a field longer than itself', [field('A=b', 4)]],
    ['with a field without a name', [field('nothing')]],
    ['with a zero byte in a name', [field('A\0B=c')]],
    ['with a field of nothing', [field('')]],
  ])('refuses an entry %s', async (_what, fields) => {
    await expect(journalActions.journal_get(entry(...fields), {})).rejects.toMatchObject({ reason: 'DAEMON_ERROR' });
  });

  it.each([
    ['one byte longer than a chunk', 8193n],
    ['longer than anything', 2n ** 64n - 1n],
  ])('fails at once if a field is %s, which daemons neither send nor report', async (_what, length) => {
    const announced = Buffer.alloc(8);
    announced.writeBigUInt64BE(length);
    const context = inTurn('journal_get', {
      files: {
        async *internal_journal_get() {
          yield field('A=b');
          yield announced;
          await new Promise(() => undefined);
        },
      },
    });
    await expect(journalActions.journal_get(context, {})).rejects.toMatchObject({
      reason: 'MESSAGE_TOO_LARGE',
      message: expect.stringContaining(`${length} bytes`),
      details: { metadata: { limit: '8192' } },
    });
  });

  it('accepts a field that just fits in a chunk', async () => {
    const { fields } = await journalActions.journal_get(entry(field(`A=${'b'.repeat(8190)}`), field('C=d')), {});
    expect(fields.map(({ attrname, attrval }) => [attrname, attrval.length])).toEqual([
      ['A', 8190],
      ['C', 1],
    ]);
  });

  it('refuses an entry that is too large for clients', async () => {
    await expect(
      journalActions.journal_get(
        entry(...Array.from({ length: ANSWER_LIMIT / 4096 }, () => field(`A=${'b'.repeat(4096)}`))),
        {},
      ),
    ).rejects.toMatchObject({ reason: 'MESSAGE_TOO_LARGE', message: expect.stringContaining('use Download') });
  });
});
