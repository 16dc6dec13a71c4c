/** libguestfs: the C library in a separate process, with this project's appliance or the one that it builds itself. */
import { PythonSubject } from './pythonSubject.js';

export interface LibraryOptions {
  readonly id: 'library' | 'stock';
  /** Directory of a fixed appliance; undefined: the one that libguestfs builds and caches. */
  readonly appliance: string | undefined;
  readonly temporary: string;
  readonly signal: AbortSignal;
}

export class Library extends PythonSubject {
  constructor({ id, appliance, temporary, signal }: LibraryOptions) {
    super(
      id,
      {
        LIBGUESTFS_BACKEND: 'direct',
        LIBGUESTFS_BACKEND_SETTINGS: 'force_tcg',
        LIBGUESTFS_TMPDIR: temporary,
        ...(appliance === undefined ? {} : { LIBGUESTFS_PATH: appliance }),
      },
      signal,
    );
  }
}
