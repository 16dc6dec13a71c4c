/**
 * What a replica tells another about a call that it makes there, in a header that only they can sign: for whom it makes
 * the call, and at which run of which replica it is aimed; or what it wants to know for itself. A call with this header is
 * never passed on again.
 */
import type { Metadata } from '@grpc/grpc-js';
import { z } from 'zod';
import { unauthenticated } from '../../security/certificateIdentity.js';
import type { SessionKeys } from './sessionKeys.js';

/** The metadata key; its value is binary. */
export const FORWARDED_HEADER = 'guestfs-forwarded-bin';

const SIGNATURE_BYTES = 32;
/** Twice the longest identity. */
const LONGEST = 12_288;

const run = z.object({ replica: z.string().max(64), run: z.string().max(64) });

/** Made for a client. */
const forClient = z.object({
  from: z.string(),
  /** The run that the call is for. */
  to: run,
  /** The client's identity; none on servers without identities. */
  identity: z.string().optional(),
  /** The client that limits count against. */
  client: z.string(),
});

/** A question about a call that creates a session: its client's identity, its request ID, and what is asked. */
const attempt = z.object({
  identity: z.string().optional(),
  id: z.string().max(64),
  /**
   * The run that has an attempt at it now, which is to be noted unless there was one before. Left out: the question is
   * whether the replica that is asked knows the call.
   */
  by: run.optional(),
  /** The run that is known to be noted, and that does not know the call any more. */
  insteadOf: run.optional(),
});

/** Made for the replica itself, which wants to know who answers, and what that one knows about an attempt. */
const forItself = z.object({ from: z.string(), nonce: z.string(), attempt: attempt.optional() });

const content = z.union([forClient, forItself]);

/** A call that a replica made for a client. */
export type ForClient = z.infer<typeof forClient>;
/** A call that a replica made for itself. */
export type ForItself = z.infer<typeof forItself>;
/** A question about attempts at a call. */
export type AttemptQuestion = z.infer<typeof attempt>;
export type Forwarded = ForClient | ForItself;

/** Whether the call was made for the replica itself. */
export function isForItself(forwarded: Forwarded | undefined): forwarded is ForItself {
  return forwarded !== undefined && 'nonce' in forwarded;
}

/** The value of the header. */
export function forwardedHeader(keys: SessionKeys, forwarded: Forwarded): Buffer {
  const text = JSON.stringify(forwarded);
  return Buffer.concat([keys.sign('forwarded', text), Buffer.from(text)]);
}

/**
 * What the header of a call says; undefined if it has none.
 * @throws GuestfsError UNAUTHENTICATED if no replica has signed it
 */
export function forwardedBy(keys: SessionKeys, metadata: Metadata): Forwarded | undefined {
  const [value, ...more] = metadata.get(FORWARDED_HEADER);
  if (value === undefined) return undefined;
  if (more.length === 0 && Buffer.isBuffer(value) && value.length > SIGNATURE_BYTES && value.length <= LONGEST) {
    const text = value.subarray(SIGNATURE_BYTES).toString('utf8');
    if (keys.verify('forwarded', text, value.subarray(0, SIGNATURE_BYTES))) return parsed(text);
  }
  throw unauthenticated(
    `the metadata key "${FORWARDED_HEADER}" is for calls between replicas, and no replica with this server's session key has signed its value`,
  );
}

/** The statement of a replica, which can be of another version. */
function parsed(text: string): Forwarded {
  try {
    return content.parse(JSON.parse(text));
  } catch {
    throw unauthenticated(
      `this server does not understand what a replica says in the metadata key "${FORWARDED_HEADER}"`,
    );
  }
}
