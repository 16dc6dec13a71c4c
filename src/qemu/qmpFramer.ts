/**
 * Cuts the monitor's stream into JSON objects, one a line. No I/O.
 *
 * qemu has parsed what appliances wrote, so its words are bounded and checked like
 * those of a stranger.
 */

/** Longest line taken. The longest known, the list of all block nodes of 255 drives, has under 1 MiB. */
export const MAX_QMP_LINE = 8 << 20;

/** One message of the monitor. */
export type QmpMessage = Readonly<Record<string, unknown>>;

/** The peer does not speak QMP; the connection is of no use any more. */
export class QmpProtocolError extends Error {
  override readonly name = 'QmpProtocolError';
}

export class QmpFramer {
  #parts: Buffer[] = [];
  #length = 0;

  constructor(private readonly maxLine: number = MAX_QMP_LINE) {}

  /**
   * Takes the next bytes and returns the messages that they complete.
   * @throws QmpProtocolError when a line is too long or no JSON object
   */
  push(bytes: Buffer): QmpMessage[] {
    const messages: QmpMessage[] = [];
    let start = 0;
    for (let end = bytes.indexOf(0x0a); end >= 0; end = bytes.indexOf(0x0a, start)) {
      this.#keep(bytes.subarray(start, end));
      const line = Buffer.concat(this.#parts).toString('utf8').trim();
      this.#parts = [];
      this.#length = 0;
      if (line !== '') messages.push(parse(line));
      start = end + 1;
    }
    // A copy: the rest must not hold a large read buffer.
    if (start < bytes.length) this.#keep(Buffer.from(bytes.subarray(start)));
    return messages;
  }

  #keep(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > this.maxLine)
      throw new QmpProtocolError(`a line of the monitor is longer than ${this.maxLine} bytes`);
    this.#parts.push(part);
  }
}

function parse(line: string): QmpMessage {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch (error) {
    throw new QmpProtocolError('a line of the monitor is not JSON', { cause: error });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new QmpProtocolError('a line of the monitor is not a JSON object');
  return value as QmpMessage;
}
