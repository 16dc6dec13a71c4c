/**
 * Keeps where the server has its files from clients: its appliance, run directories and caches. Those of its directories
 * that a client named itself are not among them.
 */

/** What stands for a path. */
const PLACEHOLDER = '[a file of the server]';

/** Characters of a path that is quoted in a sentence or a command. */
const REST = /[^\s'",;:(){}[\]]*/y;

/** Before one of these, it is not the beginning of a path. */
const INSIDE = /[\w./-]/;

/** What the server keeps where. */
export interface ServerDirectories {
  /** Search path of appliances, separated by colons. */
  readonly path: string;
  readonly tmpdir: string;
  readonly cachedir: string;
  /** qemu, if it is not the usual one. */
  readonly hv?: string | undefined;
}

/** Makes the function that takes the paths of the server out of a text; others, such as those of a guest, stay. */
export function hidingHostPaths({ path, tmpdir, cachedir, hv = '' }: ServerDirectories): (text: string) => string {
  const prefixes = [
    ...path.split(':').filter((directory) => directory.startsWith('/') && directory !== '/'),
    ...[tmpdir, cachedir].flatMap((directory) => [`${directory}/guestfs-grpc-`, `${directory}/.guestfs-`]),
    '/proc/self/fd/',
    ...(hv.startsWith('/') ? [hv] : []),
  ];
  return (text) => prefixes.reduce(withoutPaths, text);
}

function withoutPaths(text: string, prefix: string): string {
  let shown = '';
  let from = 0;
  for (let at = text.indexOf(prefix); at >= 0; at = text.indexOf(prefix, from)) {
    // A prefix can have characters that would end the rest of a path.
    REST.lastIndex = at + prefix.length;
    const end = REST.lastIndex + (REST.exec(text)?.[0].length ?? 0);
    shown += INSIDE.test(text[at - 1] ?? '') ? text.slice(from, end) : text.slice(from, at) + PLACEHOLDER;
    from = end;
  }
  return shown + text.slice(from);
}
