/** What the server's configuration permits clients to do. */
import type { CallRules } from '../actions/callRules.js';
import type { Permission, PermissionDef, RefusalDef, RequestCondition } from '../actions/types.js';
import { GuestfsError } from '../common/errors.js';
import type { ImageRoots } from './pathPolicy.js';

/** Values of `--allow`. */
export const ALLOWABLE = [
  'remote-drives',
  'block-devices',
  'backing-files',
  'network',
  'channelz',
  'host-actions',
  'custom-qemu',
  'drain',
] as const satisfies readonly Permission[];
export type Allowable = (typeof ALLOWABLE)[number];

/** The server's policy. */
export interface ServerPolicy {
  /** Where images may be. */
  readonly imageRoots: ImageRoots;
  readonly allowed: ReadonlySet<Allowable>;
}

/** The configuration that decides whether a call is permitted. */
export interface CallPolicy extends Pick<ServerPolicy, 'allowed'> {
  /** Whether the actions that inspect the appliance are served. */
  readonly debugService: boolean;
}

/** All values at a path: for a list on the way, those of each element. */
function valuesAt(value: unknown, path: readonly string[]): readonly unknown[] {
  if (Array.isArray(value)) return value.flatMap((element) => valuesAt(element, path));
  const [name, ...rest] = path;
  if (name === undefined) return [value];
  if (typeof value !== 'object' || value === null) return [];
  return valuesAt((value as Readonly<Record<string, unknown>>)[name], rest);
}

function holds(condition: RequestCondition, request: object): boolean {
  if ('serverVariable' in condition) {
    return Object.entries(process.env).some(([name, value]) => condition.serverVariable.test(`${name}=${value ?? ''}`));
  }
  const values = valuesAt(request, condition.field.split('.'));
  if ('is' in condition) return values.includes(condition.is);
  const texts = values.filter((value) => typeof value === 'string');
  return texts.some((text) =>
    'isOneOf' in condition ? condition.isOneOf.includes(text) : condition.matches.test(text),
  );
}

function notAllowed(what: string, setting: string, instead = ''): GuestfsError {
  const advice = instead === '' ? '' : `. ${instead}`;
  return new GuestfsError(
    'NOT_ALLOWED',
    `${what} is not allowed on this server; its operator can allow it with ${setting}${advice}`,
    { metadata: { setting } },
  );
}

function requirePermission(
  { name }: CallRules,
  { permission, purpose, instead }: PermissionDef,
  policy: Pick<CallPolicy, 'allowed'>,
): void {
  if (policy.allowed.has(permission)) return;
  throw notAllowed(purpose === undefined ? name : `${name} ${purpose}`, `--allow ${permission}`, instead);
}

/**
 * Checks the permissions that an RPC needs, before it does anything.
 * @param request as far as it is known: a condition on a missing field is false
 * @throws GuestfsError NOT_ALLOWED naming the setting that allows it
 */
export function requireAllowed(rules: CallRules, request: object, policy: CallPolicy): void {
  if (rules.offeredWith !== undefined && !policy.debugService) throw notAllowed(rules.name, rules.offeredWith);
  for (const needed of rules.permissions) {
    if (needed.when === 'found') continue;
    if (needed.when === undefined || holds(needed.when, request)) requirePermission(rules, needed, policy);
  }
}

/**
 * Checks a permission that an RPC needs only for certain files, and declares as such. (Block devices are detected, and
 * refused, where images are opened: `pathPolicy.ts`.)
 * @throws GuestfsError NOT_ALLOWED naming the setting that allows it
 */
export function requireFound(rules: CallRules, permission: Permission, policy: Pick<CallPolicy, 'allowed'>): void {
  const declared = rules.permissions.find((needed) => needed.permission === permission && needed.when === 'found');
  if (declared === undefined) throw new Error(`${rules.name} does not declare that it may need ${permission}`);
  requirePermission(rules, declared, policy);
}

/** The error for an action that is meaningful only inside the process that uses the C library. */
export function notOverNetwork(action: string, { why, instead }: RefusalDef): GuestfsError {
  return new GuestfsError('NOT_OVER_NETWORK', `${action} does not work over a network: ${why}. Instead, ${instead}`);
}
