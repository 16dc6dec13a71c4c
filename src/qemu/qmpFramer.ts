/**
 * Splits the QMP stream into JSON objects, one per line. No I/O.
 *
 * A qemu may have been compromised by its appliance, so its messages are untrusted: limited in length and validated.
 */

/** Maximum length of a line. The longest known, the list of all block nodes of 255 drives, has less than 1 MiB. */
export const MAX_QMP_LINE = 8 << 20;

/** One QMP message. */
export type QmpMessage = Readonly<Record<string, unknown>>;

/** The peer violates the QMP protocol; the connection cannot be used any more. */
export class QmpProtocolError extends Error {
  override readonly name = 'QmpProtocolError';
}

export class QmpFramer {
  #parts: Buffer[] = [];
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
      this.#keep(bytes.subarray(start, end));
      const line = Buffer.concat(this.#parts).toString('utf8').trim();
      this.#parts = [];
      this.#length = 0;
      if (line !== '') messages.push(parse(line));
      start = end + 1;
    }
    // Copied, so that the rest does not keep a large read buffer alive.
    if (start < bytes.length) this.#keep(Buffer.from(bytes.subarray(start)));
    return messages;
  }

  #keep(part: Buffer): void {
    this.#length += part.length;
    if (this.#length > this.maxLine) throw new QmpProtocolError(`a QMP message is longer than ${this.maxLine} bytes`);
    this.#parts.push(part);
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
