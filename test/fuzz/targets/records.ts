/** Downloaded lists, of names, directory entries and journal fields, and the conversion of guests' texts. */
import { decodeDirent } from '../../../gen/calls/structs.js';
import { GuestfsError } from '../../../src/common/errors.js';
import { decodeGuestText, encodeGuestText, printable, printableName } from '../../../src/common/guestText.js';
import { fieldsOf } from '../../../src/library/journal.js';
import { namesOf, recordsOf, sortedRuns } from '../../../src/library/records.js';
import { parseRelease } from '../../../src/library/report/release.js';
import { parseSubvolumes } from '../../../src/library/report/snapshots.js';
import { XdrEncoder } from '../../../src/xdr/encoder.js';
import { ensure, unlessRefused, type Target } from '../engine/target.js';
import { arriving, cut, gathered, inPieces } from './pieces.js';

/** The largest window that the server uses. */
const WINDOW = { names: 32_768, bytes: 1 << 20 };
const KINDS = 5;

function checkText(bytes: Buffer): void {
  const decoded = decodeGuestText(bytes);
  ensure(decoded.isWellFormed(), 'a text is not valid Unicode');
  ensure(encodeGuestText(decoded).equals(bytes), 'a text is not converted back to the same bytes');
  for (const shown of [printable(decoded), printableName(decoded)])
    ensure(!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/.test(shown), 'a message has control characters');
  // A client can send text that did not come from the server.
  const foreign = bytes.toString('utf16le');
  ensure(decodeGuestText(encodeGuestText(foreign)).isWellFormed(), 'a text from a client is not valid Unicode');
}

async function checkNames(bytes: Buffer, pieces: readonly Buffer[]): Promise<void> {
  const { list, error } = await gathered(namesOf(arriving(pieces), 'ls'));
  ensure(error === undefined || error instanceof GuestfsError, `names end with ${String(error)}`);
  const whole = bytes.toString('latin1').split('\0').slice(0, -1);
  if (error === undefined)
    ensure(JSON.stringify(list.map((name) => name.toString('latin1'))) === JSON.stringify(whole), 'names are lost');
  const runs = await gathered(sortedRuns(arrivingNames(list), WINDOW));
  ensure(runs.error === undefined && runs.list.length === list.length, 'sorting loses names');
}

async function* arrivingNames(list: readonly Buffer[]): AsyncGenerator<readonly Buffer[]> {
  yield list;
}

async function checkEntries(bytes: Buffer, pieces: readonly Buffer[]): Promise<void> {
  const inParts = await gathered(recordsOf(arriving(pieces), decodeDirent, 'readdir'));
  const whole = await gathered(recordsOf(arriving([bytes]), decodeDirent, 'readdir'));
  for (const { error } of [inParts, whole])
    ensure(error === undefined || error instanceof GuestfsError, `entries end with ${String(error)}`);
  ensure(
    (inParts.error === undefined) === (whole.error === undefined),
    'whether a list is refused depends on how it is split',
  );
  ensure(inParts.list.length === whole.list.length, 'the list depends on how it is split');
}

function checkFields(bytes: Buffer): void {
  const fields = unlessRefused([GuestfsError], () => [...fieldsOf(bytes)]) ?? [];
  const size = fields.reduce((sum, { attrval }) => sum + attrval.length, 0);
  ensure(size <= bytes.length, 'the fields have more bytes than the entry');
}

function checkReport(bytes: Buffer): void {
  const text = decodeGuestText(bytes);
  const { id, versionId, supportEnd } = parseRelease(text);
  ensure(id.length + versionId.length <= text.length, 'os-release says more than it holds');
  ensure(/^(?:\d{4}-\d{2}-\d{2})?$/.test(supportEnd), 'the end of support is not a date');
  ensure(parseSubvolumes(text).byPath.size <= text.split('\n').length, 'there are more subvolumes than lines');
}

function dirents(...names: readonly string[]): Buffer {
  const encoder = new XdrEncoder();
  for (const [index, name] of names.entries()) {
    encoder.int64(BigInt(index));
    encoder.int('r'.charCodeAt(0));
    encoder.string(name);
  }
  return encoder.finish();
}

const RELEASE = Buffer.from(
  'ID=a\nPRETTY_NAME="A \\"b\\""\nVERSION="1 (C)"\nSUPPORT_END=2030-01-01\nID 256 gen 1 top level 5 parent_uuid -  uuid 1-2 path @\n',
);

function fields(...texts: readonly string[]): Buffer {
  return Buffer.concat(
    texts.flatMap((text) => {
      const length = Buffer.alloc(8);
      length.writeBigUInt64BE(BigInt(text.length));
      return [length, Buffer.from(text)];
    }),
  );
}

export const records: Target = {
  name: 'records',
  about:
    'names, directory entries and journal fields that are downloaded, texts of guests, and what reports read of them',
  longest: 1024,
  // As much as arrives in one turn of the event loop.
  stretched: 64 * 1024,
  seeds: () =>
    [
      Buffer.from('a \xe9 \uef80 \u{1f600} \n'),
      Buffer.from('one\0two\0\0'),
      dirents('.', 'file'),
      fields('A=b', 'C='),
      RELEASE,
    ]
      .map((bytes, kind) => ({ bytes, kind }))
      .flatMap(({ bytes, kind }) => [3, 256].map((size) => Buffer.concat([Buffer.of(kind), inPieces(size, bytes)]))),
  run(input) {
    const { bytes, pieces } = cut(input.subarray(1));
    switch ((input[0] ?? 0) % KINDS) {
      case 0:
        return checkText(bytes);
      case 1:
        return checkNames(bytes, pieces);
      case 2:
        return checkEntries(bytes, pieces);
      case 4:
        return checkReport(bytes);
      default:
        return checkFields(bytes);
    }
  },
};
