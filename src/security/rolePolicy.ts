/** Access by the roles in the policy file, which can be reloaded while the server runs. */
import { readFile } from 'node:fs/promises';
import { isAbsolute, join, normalize, sep } from 'node:path';
import type { CallRules } from '../actions/callRules.js';
import { serviceOfRpc } from '../actions/services.js';
import { GuestfsError } from '../common/errors.js';
import type { Access, AccessPolicy, OwnLimits } from './access.js';
import { directoryName } from './ownDirectories.js';
import type { ImageRoots } from './pathPolicy.js';
import type { Allowable, ServerPolicy } from './policy.js';
import { parsePolicy, PolicyFileError, type PolicyDocument, type Role } from './policyFile.js';
import { matchesWildcard } from './wildcard.js';

/** Placeholder in a path for the directory name of the calling identity. */
const OWN = '{identity}';

/** Whether a name in a role's list matches a call. */
function covers(name: string, { name: call, mutating }: CallRules): boolean {
  return name === 'all' || name === call || name === serviceOfRpc.get(call) || (name === 'read' && !mutating);
}

/** Directories of a role, under the server's image roots. */
interface Grants {
  readonly directories: readonly string[];
  readonly readOnly: ReadonlySet<string>;
}

const NO_GRANTS: Grants = { directories: [], readOnly: new Set() };

function isUnder(path: string, root: string): boolean {
  return path === root || path.startsWith(root.endsWith(sep) ? root : root + sep);
}

/**
 * The directories for a path in the file.
 * @throws PolicyFileError if it is outside the image roots
 */
function resolveGrant(path: string, { directories: roots }: ImageRoots): readonly string[] {
  const clean = normalize(path).replace(/(?<=.)\/$/, '');
  const found = isAbsolute(clean) ? [clean] : roots.map((root) => join(root, clean));
  const outside = found.filter((directory) => !roots.some((root) => isUnder(directory, root)));
  if (outside.length > 0) throw new PolicyFileError(`images: ${path} is not under an --image-root`);
  if (path.split('/').some((name) => name.includes(OWN) && name !== OWN))
    throw new PolicyFileError(`images: ${path}: ${OWN} must be the complete name of a directory`);
  return found;
}

function grantsOf({ images }: Role, roots: ImageRoots, identity: string): Grants {
  const writable = new Set<string>();
  const readable = new Set<string>();
  for (const { path, access } of images) {
    for (const directory of resolveGrant(path, roots))
      (access === 'write' ? writable : readable).add(directory.replaceAll(OWN, () => directoryName(identity)));
  }
  return {
    directories: [...new Set([...writable, ...readable])],
    readOnly: new Set([...readable].filter((directory) => !writable.has(directory))),
  };
}

/**
 * Checks what the schema cannot express.
 * @throws PolicyFileError
 */
function checkAgainstServer({ roles }: PolicyDocument, server: ServerPolicy): void {
  for (const [name, role] of Object.entries(roles)) {
    const missing = role.permissions.filter((permission) => !server.allowed.has(permission));
    if (missing.length > 0)
      throw new PolicyFileError(
        `roles.${name}.permissions: the server itself lacks ${missing.map((one) => `--allow ${one}`).join(', ')}`,
      );
    try {
      for (const { path } of role.images) resolveGrant(path, server.imageRoots);
    } catch (error) {
      if (error instanceof PolicyFileError) throw new PolicyFileError(`roles.${name}.${error.message}`);
      throw error;
    }
  }
}

/** The image roots of an identity under the current policy. */
class RoleRoots implements ImageRoots {
  readonly withoutLinks = true;

  constructor(
    private readonly role: () => Role | undefined,
    private readonly server: ImageRoots,
    private readonly identity: string,
  ) {}

  get directories(): readonly string[] {
    return this.#grants().directories;
  }

  get readOnly(): ReadonlySet<string> {
    return this.#grants().readOnly;
  }

  get ofAll(): readonly string[] {
    return this.server.directories;
  }

  get blockDevices(): boolean {
    return this.server.blockDevices === true && this.role()?.permissions.includes('block-devices') === true;
  }

  get backingFiles(): boolean {
    return this.server.backingFiles === true && this.role()?.permissions.includes('backing-files') === true;
  }

  #grants(): Grants {
    const role = this.role();
    return role === undefined ? NO_GRANTS : grantsOf(role, this.server, this.identity);
  }
}

/** The limits of an identity, as they are in the policy of the moment. */
class RoleLimits implements OwnLimits {
  constructor(private readonly role: () => Role | undefined) {}

  get sessions(): number | undefined {
    return this.role()?.limits.sessions;
  }

  get memsizeMb(): number | undefined {
    return this.role()?.limits.memory;
  }

  get smp(): number | undefined {
    return this.role()?.limits.cpus;
  }

  get drives(): number | undefined {
    return this.role()?.limits.drives;
  }

  get diskBytes(): number | undefined {
    return this.role()?.limits.disk_bytes;
  }
}

/** Access by the roles of a file. */
export class RolePolicy implements AccessPolicy {
  #document: PolicyDocument;

  private constructor(
    document: PolicyDocument,
    private readonly path: string,
    private readonly server: ServerPolicy,
  ) {
    this.#document = document;
  }

  /**
   * @param server what the flags allow, which no role can exceed
   * @throws PolicyFileError if the file is invalid, or the error of the file system
   */
  static async read(path: string, server: ServerPolicy): Promise<RolePolicy> {
    return new RolePolicy(await readPolicy(path, server), path, server);
  }

  /**
   * Reloads the file; if that fails, the policy stays in force.
   * @throws PolicyFileError if the file is invalid, or the error of the file system
   */
  async reload(): Promise<void> {
    this.#document = await readPolicy(this.path, this.server);
  }

  async of(identity: string | undefined): Promise<Access> {
    if (identity === undefined) throw new Error('a client without an identity');
    const role = this.#roleOf(identity);
    if (role === undefined)
      throw new GuestfsError('NOT_ALLOWED', `the server's policy has no role for ${identity}`, {
        metadata: { setting: '--policy' },
      });
    return {
      imageRoots: new RoleRoots(() => this.#roleOf(identity), this.server.imageRoots, identity),
      allowed: new Set<Allowable>(role.permissions),
      limits: new RoleLimits(() => this.#roleOf(identity)),
      requireCall: (rules) => {
        const has = (names: readonly string[]): boolean => names.some((name) => covers(name, rules));
        if (has(role.calls) && !has(role.except)) return;
        throw new GuestfsError('NOT_ALLOWED', `the server's policy does not allow ${identity} to call ${rules.name}`, {
          metadata: { setting: '--policy' },
        });
      },
    };
  }

  /** The role of the first entry that matches. */
  #roleOf(identity: string): Role | undefined {
    const { roles, identities } = this.#document;
    const entry = identities.find(({ match }) => match.some((pattern) => matchesWildcard(pattern, identity)));
    return entry && roles[entry.role];
  }
}

async function readPolicy(path: string, server: ServerPolicy): Promise<PolicyDocument> {
  const document = parsePolicy(await readFile(path, 'utf8'));
  checkAgainstServer(document, server);
  return document;
}
