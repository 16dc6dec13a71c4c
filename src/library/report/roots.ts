/**
 * The systems on the file systems of an image. The daemon inspects all file systems in one go and gives up at the first
 * thing that it does not expect: then the system that it was examining is mended or hidden from it, and it is
 * asked again.
 */
import { inspectOs } from '../../../gen/calls/inspection.js';
import { GuestfsError } from '../../common/errors.js';
import { isDaemonError } from '../tolerance.js';
import type { ActionCalls } from './actionCalls.js';
import type { Filesystems } from './filesystems.js';
import { inspected, type FoundSystem } from './foundSystem.js';
import { fitting } from './limits.js';
import { deviceOf, findCulprit, hideSystem, mendSystem } from './mending/culprit.js';
import type { WindowsFacts } from './mending/windows.js';
import type { Warnings } from './warnings.js';

const FIELD = 'roots';
/** Inspections, each of which mounts all file systems. */
const MAX_ATTEMPTS = 16;

/** The roots of an inspection. */
interface Inspection {
  readonly systems: readonly FoundSystem[];
  /** File systems that the daemon could not inspect. */
  readonly hidden: readonly string[];
}

/** Inspects until the daemon does not give up any more. */
class PatientInspection {
  readonly #windows = new Map<string, WindowsFacts>();
  readonly #mended = new Set<string>();
  readonly #hidden = new Map<string, () => Promise<unknown>>();

  constructor(
    private readonly actions: ActionCalls,
    private readonly filesystems: Filesystems,
    private readonly warnings: Warnings,
  ) {}

  async run(): Promise<Inspection> {
    let roots: readonly string[] = [];
    try {
      for (let attempt = 1; ; attempt += 1) {
        const answer = await this.#ask();
        if (!(answer instanceof GuestfsError)) {
          roots = answer;
          break;
        }
        if (attempt === MAX_ATTEMPTS || !(await this.#cure(answer))) {
          this.warnings.add(FIELD, inspectOs.action, answer.reason, answer.message);
          break;
        }
      }
    } finally {
      for (const undo of this.#hidden.values()) await undo();
    }
    return {
      systems: roots.map((root) => inspected(root, this.#windows.get(root))),
      hidden: [...this.#hidden.keys()],
    };
  }

  async #ask(): Promise<readonly string[] | GuestfsError> {
    try {
      const { roots } = await this.actions.call(inspectOs, {});
      const some = fitting(roots);
      this.warnings.leftOut(FIELD, roots.length - some.length);
      return some;
    } catch (error) {
      if (!isDaemonError(error)) throw error;
      return GuestfsError.from(error);
    }
  }

  /** True if it makes sense to ask again. */
  async #cure(error: GuestfsError): Promise<boolean> {
    const culprit = await findCulprit(this.actions, [...this.filesystems.keys()], this.warnings);
    if (culprit === undefined || this.#hidden.has(culprit)) return false;
    if (!this.#mended.has(culprit)) {
      this.#mended.add(culprit);
      const { isMended, windows } = await mendSystem(this.actions, culprit, this.warnings);
      if (windows !== undefined) this.#windows.set(culprit, windows);
      if (isMended) return true;
    }
    const type = this.filesystems.get(culprit) ?? this.filesystems.get(deviceOf(culprit)) ?? '';
    const undo = await hideSystem(this.actions, culprit, type, this.#hidden.size);
    if (undo === undefined) return false;
    this.#hidden.set(culprit, undo);
    this.warnings.add(FIELD, inspectOs.action, error.reason, `${culprit} was not inspected: ${error.message}`);
    return true;
  }
}

/** The systems that the daemon finds. */
export function inspectPatiently(
  actions: ActionCalls,
  filesystems: Filesystems,
  warnings: Warnings,
): Promise<Inspection> {
  return new PatientInspection(actions, filesystems, warnings).run();
}
