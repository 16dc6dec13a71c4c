/**
 * Has qemu print what bytes a block node has.
 *
 * The monitor's `qemu-io` is the one command for bytes that is done when it answers. It prints them to
 * standard output, through a buffer of its own: where that is the monitor's too, an answer can come in
 * the middle of a line. And it must be a file: the monitor makes a pipe one that does not block, and
 * then all is lost that comes while the pipe is full.
 */

/** Characters that are printed for one byte, at most. */
export const DUMP_GROWTH = 8;

/** The command that prints the first `length` bytes of a node; when it has fewer, none. */
export function dumpCommand(node: string, length: number): { readonly execute: string; readonly arguments: object } {
  return { execute: 'human-monitor-command', arguments: { 'command-line': `qemu-io ${node} "read -v 0 ${length}"` } };
}

/** An answer of the monitor: up to the end of its line. In a dump, all but letters and digits are dots. */
const ANSWER = /\{[^\n]*\n?/g;

/** The answers of the monitor in what was printed. */
export function answersIn(printed: string): string[] {
  return printed.match(ANSWER) ?? [];
}

/** The bytes in what was printed; undefined when they are not exactly `length`. */
export function dumpIn(printed: string, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  let at = 0;
  for (const [, offset, row] of printed
    .replace(ANSWER, '')
    .matchAll(/^([0-9a-f]{8}): {2}((?:[0-9a-f]{2} ){1,16}) /gm)) {
    const part = Buffer.from((row as string).replaceAll(' ', ''), 'hex');
    if (parseInt(offset as string, 16) !== at || at + part.length > length) return undefined;
    at += part.copy(bytes, at);
  }
  return at === length ? bytes : undefined;
}
