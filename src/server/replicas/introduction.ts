/**
 * How replicas learn who is at an address: one asks for the server's information on its own behalf, with a random text,
 * and the answer's metadata has a statement about the replica and that text, signed with the session key. Whoever does
 * not have the key cannot pose as a replica. The question can also be about attempts at a call, see firstAttempts.ts.
 */
import { randomBytes } from 'node:crypto';
import { Metadata } from '@grpc/grpc-js';
import { z } from 'zod';
import { SessionServiceService } from '../../../gen/proto/guestfs/v1/session.js';
import { FORWARDED_HEADER, forwardedHeader, type AttemptQuestion, type ForItself } from './forwarded.js';
import type { PeerLink } from './peerLink.js';
import type { SessionKeys } from './sessionKeys.js';

const REPLICA_HEADER = 'guestfs-replica-bin';
const SIGNATURE_BYTES = 32;
const NONCE_BYTES = 16;

const statement = z.object({
  replica: z.string(),
  run: z.string(),
  /** Its advertised address. */
  endpoint: z.string(),
  nonce: z.string(),
  /** About the attempt that was asked about; a replica of an older version says nothing. */
  attempt: z
    .object({
      /** The run that had the first attempt. */
      first: z.object({ replica: z.string(), run: z.string() }).optional(),
      /** Whether this replica knows the call. */
      known: z.boolean().optional(),
    })
    .optional(),
});

/** What a replica says about itself, and about what it was asked. */
export type Introduction = Omit<z.infer<typeof statement>, 'nonce'>;
/** What a replica says about attempts at a call. */
export type AttemptAnswer = NonNullable<Introduction['attempt']>;

/** The metadata of the answer to a replica. */
export function introduce(keys: SessionKeys, own: Introduction, { nonce }: Pick<ForItself, 'nonce'>): Metadata {
  const text = JSON.stringify({ ...own, nonce });
  const metadata = new Metadata();
  metadata.set(REPLICA_HEADER, Buffer.concat([keys.sign('replica', text), Buffer.from(text)]));
  return metadata;
}

function verified(keys: SessionKeys, metadata: Metadata | undefined, nonce: string): Introduction {
  const [value] = metadata?.get(REPLICA_HEADER) ?? [];
  if (Buffer.isBuffer(value) && value.length > SIGNATURE_BYTES) {
    const text = value.subarray(SIGNATURE_BYTES).toString('utf8');
    if (keys.verify('replica', text, value.subarray(0, SIGNATURE_BYTES))) {
      const { nonce: repeated, ...introduction } = statement.parse(JSON.parse(text));
      if (repeated === nonce) return introduction;
    }
  }
  throw new Error('it answers, but does not prove that it is a replica with the same session key');
}

/**
 * Asks who is at the other end.
 * @param attempt what else is asked
 * @throws Error if nobody answers in time, or without proof
 */
export async function askWho(
  keys: SessionKeys,
  link: PeerLink,
  from: string,
  limitMs: number,
  attempt?: AttemptQuestion,
): Promise<Introduction> {
  const nonce = randomBytes(NONCE_BYTES).toString('base64url');
  const metadata = new Metadata();
  const question = { from, nonce, ...(attempt === undefined ? {} : { attempt }) };
  metadata.set(FORWARDED_HEADER, forwardedHeader(keys, question));
  const call = { metadata, deadline: Date.now() + limitMs };
  const answered = await link.ask(undefined, SessionServiceService.getServerInfo, {}, call);
  return verified(keys, answered.metadata, nonce);
}
