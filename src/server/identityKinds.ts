/** Kinds of identities, as labels of metrics: a series for each identity would be too many. */
import { IDENTITY_KINDS } from '../security/certificateIdentity.js';

/** On a server without identities, and for clients that have not proved theirs. */
const NONE = 'none';
/** A replica that calls on its own behalf. */
const OTHER = 'other';

/** All of them. */
export const KIND_LABELS: readonly string[] = [...IDENTITY_KINDS, NONE, OTHER];

/** The label for an identity. */
export function kindLabel(identity: string | undefined): string {
  if (identity === undefined) return NONE;
  const kind = identity.slice(0, identity.indexOf(':'));
  return IDENTITY_KINDS.includes(kind) ? kind : OTHER;
}
