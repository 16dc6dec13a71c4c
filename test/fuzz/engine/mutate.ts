/** Derives new inputs from known ones. */
import type { Pair, Probes } from './probes.js';
import type { Random } from './random.js';

/** Numbers at which the behaviour of code often changes. */
const BOUNDARIES: readonly number[] = [
  ...[0, 1, 2, 3, 4, 7, 8, 16, 31, 32, 63, 64, 100, 127, 128, 255, 256, 511, 512, 1000, 1023, 1024, 4096],
  ...[0x7fff, 0x8000, 0xffff, 0x10000, 0x10001, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff],
];
const WIDTHS = [1, 2, 4, 8] as const;
type Width = (typeof WIDTHS)[number];

/** Maximum number of mutations of one input. */
const MOST = 6;
/** Longest run of bytes that one mutation inserts or removes. */
const LONGEST_RUN = 64;

const MASKS: Readonly<Record<Width, bigint>> = { 1: 0xffn, 2: 0xffffn, 4: 0xffffffffn, 8: 0xffffffffffffffffn };

/** A number as bytes. */
function encoded(value: bigint, width: Width, little: boolean): Buffer {
  const bytes = Buffer.alloc(8);
  if (little) {
    bytes.writeBigUInt64LE(value & MASKS[8]);
    return bytes.subarray(0, width);
  }
  bytes.writeBigUInt64BE(value & MASKS[8]);
  return bytes.subarray(8 - width);
}

/** All forms in which a value can appear in an input; the same number and order for each value of a type. */
function formsOf(value: Pair[0]): readonly Buffer[] {
  if (typeof value === 'string') return [Buffer.from(value, 'latin1'), Buffer.from(value, 'utf8')];
  if (typeof value === 'number' && !Number.isInteger(value)) return [];
  const number = BigInt(value);
  const binary = WIDTHS.flatMap((width) =>
    number === BigInt.asIntN(8 * width, number) || number === BigInt.asUintN(8 * width, number)
      ? [encoded(number, width, false), encoded(number, width, true)]
      : [Buffer.alloc(0), Buffer.alloc(0)],
  );
  return [...binary, Buffer.from(String(number)), Buffer.from(number.toString(16))];
}

export class Mutator {
  readonly #random: Random;
  readonly #probes: Probes;
  readonly #longest: number;
  #words: readonly Buffer[] = [];
  #literals = 0;

  constructor(random: Random, probes: Probes, longest: number) {
    this.#random = random;
    this.#probes = probes;
    this.#longest = longest;
  }

  /** A new input, derived from `input` and sometimes a part of `other`. */
  mutate(input: Buffer, other: Buffer): Buffer {
    let bytes = input;
    for (let count = 1 + this.#random.below(MOST); count > 0; count -= 1) bytes = this.#once(bytes, other);
    return bytes.length > this.#longest ? bytes.subarray(0, this.#longest) : bytes;
  }

  /** An input of about `length` bytes, in which a part of `input` is repeated. */
  stretch(input: Buffer, length: number): Buffer {
    const start = this.#random.below(input.length + 1);
    // Lists consist of short parts; sometimes all of the input is repeated.
    const size = this.#random.once(4) ? input.length : 1 + this.#random.below(this.#random.of([1, 2, 8, 64]));
    const part = input.subarray(start, start + size);
    const tail = input.subarray(start + part.length);
    if (part.length === 0) return input;
    const times = Math.floor(this.#random.below(length) / part.length);
    return Buffer.concat([input.subarray(0, start), Buffer.alloc(times * part.length, part), tail]);
  }

  #once(bytes: Buffer, other: Buffer): Buffer {
    const random = this.#random;
    if (bytes.length === 0) return this.#insertion(bytes, other);
    switch (random.below(12)) {
      case 0:
        return changed(bytes, (copy) => {
          const at = random.below(copy.length);
          copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
        });
      case 1:
        return changed(bytes, (copy) => (copy[random.below(copy.length)] = random.below(256)));
      case 2:
        return changed(bytes, (copy) => this.#setNumber(copy));
      case 3:
        return changed(bytes, (copy) => this.#addToNumber(copy));
      case 4:
        return this.#withoutRun(bytes);
      case 5:
        return this.#insertion(bytes, other);
      case 6:
        return this.#repeatedRun(bytes);
      case 7:
        return this.#overwritten(bytes, this.#partOf(other));
      case 8:
        return this.#overwritten(bytes, this.#word());
      case 9:
        return this.#inserted(bytes, this.#word());
      case 10:
        return this.#spliced(bytes, other);
      default:
        return this.#asCompared(bytes);
    }
  }

  #insertion(bytes: Buffer, other: Buffer): Buffer {
    const random = this.#random;
    switch (random.below(3)) {
      case 0:
        return this.#inserted(bytes, Buffer.alloc(1 + random.below(LONGEST_RUN), random.below(256)));
      case 1:
        return this.#inserted(bytes, this.#partOf(other));
      default: {
        const run = Buffer.alloc(1 + random.below(8));
        for (let at = 0; at < run.length; at += 1) run[at] = random.below(256);
        return this.#inserted(bytes, run);
      }
    }
  }

  #setNumber(copy: Buffer): void {
    const { width, at } = this.#numberIn(copy);
    encoded(BigInt(this.#random.of(BOUNDARIES)), width, this.#random.once(2)).copy(copy, at);
  }

  #addToNumber(copy: Buffer): void {
    const { width, at } = this.#numberIn(copy);
    const little = this.#random.once(2);
    const delta = this.#random.below(33) - 16;
    let value = 0n;
    for (let index = 0; index < width; index += 1)
      value = (value << 8n) | BigInt(copy[at + (little ? width - 1 - index : index)] ?? 0);
    encoded(value + BigInt(delta), width, little).copy(copy, at);
  }

  #numberIn(bytes: Buffer): { width: Width; at: number } {
    const width = this.#random.of(WIDTHS.filter((one) => one <= bytes.length));
    const at = this.#random.below(bytes.length - width + 1);
    // Most formats align their numbers.
    return { width, at: this.#random.once(2) ? at : at - (at % width) };
  }

  #withoutRun(bytes: Buffer): Buffer {
    const at = this.#random.below(bytes.length);
    const length = 1 + this.#random.below(this.#random.once(8) ? bytes.length : LONGEST_RUN);
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
  }

  #repeatedRun(bytes: Buffer): Buffer {
    const at = this.#random.below(bytes.length);
    const run = bytes.subarray(at, at + 1 + this.#random.below(LONGEST_RUN));
    return this.#inserted(bytes, run, at);
  }

  #spliced(bytes: Buffer, other: Buffer): Buffer {
    return Buffer.concat([
      bytes.subarray(0, this.#random.below(bytes.length + 1)),
      other.subarray(this.#random.below(other.length + 1)),
    ]);
  }

  #inserted(bytes: Buffer, run: Buffer, at = this.#random.below(bytes.length + 1)): Buffer {
    return Buffer.concat([bytes.subarray(0, at), run, bytes.subarray(at)]);
  }

  #overwritten(bytes: Buffer, run: Buffer): Buffer {
    return changed(bytes, (copy) => run.copy(copy, this.#random.below(copy.length)));
  }

  #partOf(other: Buffer): Buffer {
    const at = this.#random.below(other.length + 1);
    return other.subarray(at, at + 1 + this.#random.below(LONGEST_RUN));
  }

  /** One of the literals in the code. */
  #word(): Buffer {
    const { literals } = this.#probes;
    // More modules may have been loaded in the meantime.
    if (literals.size !== this.#literals) {
      this.#words = [...literals].flatMap(formsOf).filter(({ length }) => length > 0);
      this.#literals = literals.size;
    }
    return this.#words.length === 0 ? Buffer.of(this.#random.below(256)) : this.#random.of(this.#words);
  }

  /** Replaces a value in the input with the value that the code compared it with. */
  #asCompared(bytes: Buffer): Buffer {
    const { pairs } = this.#probes;
    if (pairs.length === 0) return bytes;
    const [one, other] = this.#random.of(pairs);
    const [found, wanted] = this.#random.once(2) ? [one, other] : [other, one];
    const [from, to] = [formsOf(found), formsOf(wanted)];
    const places = from.flatMap((form, index) => {
      const into = to[index];
      const at = form.length === 0 ? -1 : bytes.indexOf(form, this.#random.below(bytes.length));
      return at < 0 || into === undefined || into.length === 0 ? [] : [{ at, length: form.length, into }];
    });
    if (places.length === 0) return bytes;
    const { at, length, into } = this.#random.of(places);
    return Buffer.concat([bytes.subarray(0, at), into, bytes.subarray(at + length)]);
  }
}

function changed(bytes: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(bytes);
  change(copy);
  return copy;
}
