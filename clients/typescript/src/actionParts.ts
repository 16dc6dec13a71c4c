/** What the generated methods have in common. */
import { status } from '@grpc/grpc-js';
import type { StringList } from '../../../gen/proto/guestfs/v1/types.js';
import { clientError } from './error.js';
import type { ActionCallOptions, CallOptions } from './options.js';

/** Options of an action that sends a file: what is known about the file. */
export interface UploadOptions extends CallOptions {
  /** Its size in bytes, so that progress has a total; it may be wrong. */
  readonly progressHint?: bigint | undefined;
  /** Its size in bytes; the call fails if another number of bytes arrives. */
  readonly exactSize?: bigint | undefined;
  /** Its SHA-256, 32 bytes; compared as the exact size is. */
  readonly sha256?: Uint8Array | undefined;
  /** Its CRC-32C; compared as the exact size is. */
  readonly crc32c?: number | undefined;
}

/** The fields of an upload's arguments for these options. */
export function uploadFields({ progressHint, exactSize, sha256, crc32c }: UploadOptions) {
  return { progress_hint: progressHint, exact_size: exactSize, sha256: sha256 && bytes(sha256), crc32c };
}

/** An optional list as a field: unset and empty differ. */
export function stringList(values: string[] | undefined): StringList | undefined {
  return values && { values };
}

/** The same bytes, not copied, as the generated messages want them. */
export function bytes(given: Uint8Array): Buffer {
  return Buffer.from(given.buffer, given.byteOffset, given.length);
}

/**
 * A struct that the service always sends.
 * @throws GuestfsRpcError INCOMPLETE_ANSWER
 */
export function present<Value>(value: Value | undefined, { action = '', requestId }: ActionCallOptions): Value {
  if (value !== undefined) return value;
  const known = { code: status.INTERNAL, action, requestId };
  throw clientError(action, 'INCOMPLETE_ANSWER', 'the service answered without a value', known);
}

/** All items of an answer in batches. */
export async function collect<Batch, Item>(
  batches: AsyncIterable<Batch>,
  itemsOf: (batch: Batch) => readonly Item[],
): Promise<Item[]> {
  const items: Item[] = [];
  for await (const batch of batches) items.push(...itemsOf(batch));
  return items;
}
