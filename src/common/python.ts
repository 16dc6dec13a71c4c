/** The Python interpreter for what Node.js cannot do. */
import { existsSync } from 'node:fs';

/** The distribution's, which every user can run; one earlier on the PATH may be inaccessible to other users. */
const SYSTEM_PYTHON = '/usr/bin/python3';

/** Path, or name on the PATH. */
export const PYTHON = existsSync(SYSTEM_PYTHON) ? SYSTEM_PYTHON : 'python3';

/** `-I`: isolated from the environment and the user's modules; `-S`: without `site`, which halves the startup time. */
export const ISOLATED_PYTHON: readonly string[] = [PYTHON, '-I', '-S'];
