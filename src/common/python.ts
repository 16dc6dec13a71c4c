/** The Python that does what Node.js cannot. */
import { existsSync } from 'node:fs';

/** The distribution's own, which every user may run; one of a user's own, earlier on the PATH, may be in a directory that others may not enter. */
const SYSTEM_PYTHON = '/usr/bin/python3';

/** Path, or name on the PATH. */
export const PYTHON = existsSync(SYSTEM_PYTHON) ? SYSTEM_PYTHON : 'python3';

/** `-I`: no modules but Python's own; `-S`: none of its site either, which saves half of the start. */
export const ISOLATED_PYTHON: readonly string[] = [PYTHON, '-I', '-S'];
