/**
 * Splits the QMP stream into JSON objects, one per line. No I/O.
 *
 * A qemu may have been compromised by its appliance, so its messages are untrusted: limited in length and validated.
 */

/**
 * Maximum length of a line. The longest one known, the list of all block nodes of 255 drives, has less than 1 MiB. Even
 * the most expensive line of this length that a compromised qemu could send is parsed in about 50 ms.
 */
export const MAX_QMP_LINE = 3 << 19;

const NOTHING = Buffer.alloc(0);

/** One QMP message. */
export type QmpMessage = Readonly<Record<string, unknown>>;

/** The peer violates the QMP protocol; the connection cannot be used any more. */
export class QmpProtocolError extends Error {
  override readonly name = 'QmpProtocolError';
}

export class QmpFramer {
  /** The beginning of a line; a single buffer, so that a line that arrives byte by byte takes no more memory. */
  #kept = NOTHING;
  #length = 0;

  constructor(private readonly maxLine: number = MAX_QMP_LINE) {}

  /**
   * Takes the next bytes and returns the messages that they complete.
   * @throws QmpProtocolError if a line is too long or not a JSON object
   */
  push(bytes: Buffer): QmpMessage[] {
    const messages: QmpMessage[] = [];
    let start = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
      const line = this.#completedBy(bytes.subarray(start, end)).toString('utf8').trim();
      if (line !== '') messages.push(parse(line));
      start = end + 1;
    }
    if (start < bytes.length) this.#keep(bytes.subarray(start));
    return messages;
  }

  #keep(part: Buffer): void {
    const length = this.#length + part.length;
    if (length > this.maxLine) throw new QmpProtocolError(`a QMP message is longer than ${this.maxLine} bytes`);
    if (length > this.#kept.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#kept.length));
      this.#kept.copy(larger, 0, 0, this.#length);
      this.#kept = larger;
    }
    part.copy(this.#kept, this.#length);
    this.#length = length;
  }

  #completedBy(last: Buffer): Buffer {
    this.#keep(last);
    const whole = this.#kept.subarray(0, this.#length);
    this.#kept = NOTHING;
    this.#length = 0;
    return whole;
  }
}

function parse(line: string): QmpMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new QmpProtocolError('a QMP message is not JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new QmpProtocolError('a QMP message is not a JSON object');
  return value as QmpMessage;
}
