/**
 * Hides the locations of the server's files from clients: its appliance, run directories and caches. Directories that
 * the client itself has set are not hidden.
 */

/** Replaces a path of the server. */
const PLACEHOLDER = '[a file of the server]';

/** Characters of a path that appears in a sentence or a command. */
const REST = /[^\s'",;:(){}[\]]*/y;

/** After one of these, a match is not the start of a path. */
const INSIDE = /[\w./-]/;

/** The locations of the server's files. */
export interface ServerDirectories {
  /** Search path for appliances, separated by colons. */
  readonly path: string;
  readonly tmpdir: string;
  readonly cachedir: string;
  /** qemu, if it is not the usual one. */
  readonly hv?: string | undefined;
}

/** Creates a function that removes the server's paths from a text; others, such as those of a guest, stay. */
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
    // A prefix can contain characters that would otherwise end a path.
    REST.lastIndex = at + prefix.length;
    const end = REST.lastIndex + (REST.exec(text)?.[0].length ?? 0);
    shown += INSIDE.test(text[at - 1] ?? '') ? text.slice(from, end) : text.slice(from, at) + PLACEHOLDER;
    from = end;
  }
  return shown + text.slice(from);
}
