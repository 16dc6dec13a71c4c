/** Recognises errors of the operating system that mean that the host has run out of a resource, wherever they occur. */
/** How this is reported to a client. */
export interface Exhaustion {
  readonly reason: string;
  readonly message: string;
  readonly details: {
    readonly cause: unknown;
    readonly retryAfterMs: number;
    readonly metadata?: { readonly limit: string };
  };
}

const RETRY_AFTER_MS = 5000;
/** How many causes in a chain are examined. */
const DEPTH = 8;

function noMore(what: string, limit: string): Omit<Exhaustion, 'details'> & { readonly limit: string } {
  return { reason: 'LIMIT_EXCEEDED', message: `the server has no ${what} left: try again later`, limit };
}

const BY_CODE: Readonly<Record<string, Omit<Exhaustion, 'details'> & { readonly limit?: string }>> = {
  EMFILE: noMore('file descriptors', 'file-descriptors'),
  ENFILE: noMore('file descriptors', 'file-descriptors'),
  ENOMEM: { reason: 'OUT_OF_MEMORY', message: 'the server has too little memory for this call: try again later' },
  ENOSPC: { reason: 'ENOSPC', message: 'the server has no space left for this call on one of its disks' },
  EDQUOT: { reason: 'EDQUOT', message: 'the server has used up its quota on one of its disks' },
};
const NO_PROCESS = noMore('processes', 'processes');

/** Which resource of the host has run out, if that is why something failed. */
export function exhaustionIn(thrown: unknown): Exhaustion | undefined {
  let error: unknown = thrown;
  for (let depth = 0; depth < DEPTH && error instanceof Error; depth += 1, error = error.cause) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    const found = code === 'EAGAIN' && syscall?.startsWith('spawn') === true ? NO_PROCESS : BY_CODE[code ?? ''];
    if (found === undefined) continue;
    const { reason, message, limit } = found;
    return {
      reason,
      message,
      details: { cause: thrown, retryAfterMs: RETRY_AFTER_MS, ...(limit === undefined ? {} : { metadata: { limit } }) },
    };
  }
  return undefined;
}
