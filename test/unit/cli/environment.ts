/** An environment for a test: the flags are read from the process's own. */

/** Runs `read` in an environment with these of the server's variables, and no others. */
export function inEnvironment<Result>(environment: NodeJS.ProcessEnv, read: () => Result): Result {
  const before = { ...process.env };
  for (const name of Object.keys(process.env)) if (/^(GUESTFS_GRPC|LIBGUESTFS)_/.test(name)) delete process.env[name];
  Object.assign(process.env, environment);
  try {
    return read();
  } finally {
    for (const name of Object.keys(environment)) delete process.env[name];
    Object.assign(process.env, before);
  }
}
