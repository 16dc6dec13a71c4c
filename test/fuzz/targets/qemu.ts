/** Output of qemu: lines of QMP, and dumps of an image's bytes. */
import { answersIn, dumpIn } from '../../../src/images/nodeDump.js';
import { QmpFramer, QmpProtocolError, type QmpMessage } from '../../../src/qemu/qmpFramer.js';
import { ensure, turn, unlessRefused, type Target } from '../engine/target.js';
import { cut, inPieces } from './pieces.js';

const LONGEST_LINE = 64 * 1024;
const DUMPED = 32;
/** About as much as is read of the output of an isolated qemu. */
const LONGEST_OUTPUT = 1 << 20;

function messagesIn(pieces: readonly Buffer[]): { messages: QmpMessage[]; refused: boolean } {
  const framer = new QmpFramer(LONGEST_LINE);
  const messages: QmpMessage[] = [];
  const done = unlessRefused([QmpProtocolError], () => {
    for (const piece of pieces) messages.push(...turn(() => framer.push(piece)));
    return true;
  });
  return { messages, refused: done !== true };
}

/** Splits into lines, because `push` returns the messages of a piece only if all of them are valid. */
function lines(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
    found.push(bytes.subarray(start, end + 1));
    start = end + 1;
  }
  return [...found, bytes.subarray(start)];
}

const DUMP = `00000000:  51 46 49 fb 00 00 00 03 00 00 00 00 00 00 00 00  QFI.............
{"return": {}, "id": 2}
00000010:  00 00 00 00 00 00 00 10 00 00 00 00 00 00 00 00  ................
read 32/32 bytes at offset 0
`;

export const qemu: Target = {
  name: 'qemu',
  about: 'the QMP framer, and the dumps of qemu-io',
  longest: 2048,
  stretched: 512 * 1024,
  seeds: () =>
    [
      '{"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": ["oob"]}}\r\n',
      '{"return": {}, "id": 1}\n\n{"event": "STOP", "data": {}}\n',
      '[]\n',
      DUMP,
    ].flatMap((text) => [inPieces(3, Buffer.from(text)), inPieces(256, Buffer.from(text))]),
  run(input) {
    const { bytes, pieces } = cut(input);
    const whole = messagesIn(lines(bytes));
    const inParts = messagesIn(pieces.flatMap(lines));
    ensure(whole.refused === inParts.refused, 'whether a line is refused depends on how it is split');
    ensure(
      JSON.stringify(whole.messages) === JSON.stringify(inParts.messages),
      'the messages depend on how they are split',
    );
    for (const message of whole.messages) ensure(!Array.isArray(message), 'a message is not an object');
    const text = bytes.toString('latin1');
    const output = text.slice(0, LONGEST_OUTPUT);
    ensure(answersIn(output).join('').length <= output.length, 'the answers are longer than the output');
    const dumped = turn(() => dumpIn(output, DUMPED));
    ensure(dumped === undefined || dumped.length === DUMPED, 'a dump has the wrong length');
  },
};
