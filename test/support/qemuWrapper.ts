/** Wrapper scripts for qemu. */
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { hostArchitecture } from '../../src/qemu/arch.js';
import { locateQemu } from '../../src/qemu/qemuBinary.js';

/**
 * Creates a script that runs `before` and then executes qemu. In `before`, the arguments are in `"$@"`, and
 * `$restored` is `yes` for a clone.
 */
export async function wrapQemu(path: string, before: string): Promise<string> {
  const qemu = await locateQemu(hostArchitecture().qemuBinary);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(
    path,
    `#!/bin/sh
restored=no
for argument; do
  [ "$argument" != -incoming ] || restored=yes
done
${before}
exec ${qemu} "$@"
`,
  );
  // The user that qemu runs as must be able to read it.
  await chmod(path, 0o755);
  return path;
}

/** For {@link wrapQemu}: replaces the argument `-name value`. */
export function replaceArgument(name: string, value: string): string {
  return `count=$#
while [ $count -gt 0 ]; do
  count=$((count - 1))
  if [ "$1" = -${name} ]; then
    set -- "$@" -${name} "${value}"
    shift 2
    count=$((count - 1))
  else
    set -- "$@" "$1"
    shift
  fi
done`;
}
