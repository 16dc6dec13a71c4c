/** The policy file: which identities have which role, and what a role may do. */
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { serviceOfRpc } from '../actions/services.js';
import { IDENTITY_KINDS, namesKind } from './certificateIdentity.js';
import { ALLOWABLE } from './policy.js';

/** Stand for all calls, and for all that change nothing. */
const CALL_CLASSES = ['all', 'read'] as const;

const CALL_NAMES: ReadonlySet<string> = new Set([...CALL_CLASSES, ...serviceOfRpc.keys(), ...serviceOfRpc.values()]);

const call = z.string().refine((name) => CALL_NAMES.has(name), {
  error: ({ input }) =>
    `'${String(input)}' is no call: name an action, an RPC of SessionService, a service, all or read`,
});

const pattern = z.string().refine(namesKind, {
  error: ({ input }) =>
    `'${String(input)}' names no kind: it must begin with ${IDENTITY_KINDS.map((kind) => `${kind}:`).join(', ')}`,
});

const image = z.strictObject({
  path: z.string().min(1),
  access: z.enum(['read', 'write']),
});

const atMost = z.int().min(0).optional();

/** Of one identity with the role; what is left out is as the flags say. */
const limits = z.strictObject({
  sessions: atMost,
  /** MiB. */
  memory: atMost,
  cpus: atMost,
  drives: atMost,
  disk_bytes: atMost,
});

const role = z.strictObject({
  calls: z.array(call).default(['all']),
  except: z.array(call).default([]),
  permissions: z.array(z.enum(ALLOWABLE)).default([]),
  images: z.array(image).default([]),
  limits: limits.default({}),
});

const policy = z
  .strictObject({
    roles: z.record(z.string(), role),
    identities: z.array(z.strictObject({ match: z.array(pattern).min(1), role: z.string() })),
  })
  .check(({ value, issues }) => {
    for (const [index, entry] of value.identities.entries()) {
      if (Object.hasOwn(value.roles, entry.role)) continue;
      issues.push({
        code: 'custom',
        input: entry.role,
        path: ['identities', index, 'role'],
        message: `there is no role '${entry.role}'`,
      });
    }
  });

export type Role = z.output<typeof role>;
export type PolicyDocument = z.output<typeof policy>;

/** Describes what is wrong with a policy file. */
export class PolicyFileError extends Error {
  override readonly name = 'PolicyFileError';
}

/**
 * Parses a policy file: YAML, which includes JSON.
 * @throws PolicyFileError listing each error with its place
 */
export function parsePolicy(text: string): PolicyDocument {
  // Other keys would become strings, with a warning to nobody.
  const document = parseDocument(text, { uniqueKeys: true, stringKeys: true });
  const [broken] = [...document.errors, ...document.warnings];
  if (broken !== undefined) throw new PolicyFileError(broken.message);
  let value: unknown;
  try {
    // Aliases are not needed, and could expand a small file into a large one.
    value = document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw new PolicyFileError(error instanceof Error ? error.message : String(error));
  }
  const read = policy.safeParse(value);
  if (read.success) return read.data;
  const problems = read.error.issues.map(({ path, message }) => {
    const at = path.map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`)).join('');
    return at === '' ? message : `${at.replace(/^\./, '')}: ${message}`;
  });
  throw new PolicyFileError(problems.join('; '));
}
