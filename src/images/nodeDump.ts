/**
 * Reads bytes of a block node by having qemu print them.
 *
 * The monitor command `qemu-io` is the only synchronous one that reads bytes. It prints them to standard
 * output, with its own buffering: if the monitor uses standard output as well, a response can appear in the
 * middle of a line. Standard output must be a file: the monitor makes a pipe non-blocking, and output is
 * lost while the pipe is full.
 */

/** Maximum number of characters printed for one byte. */
export const DUMP_GROWTH = 8;

/** The command that prints the first `length` bytes of a node, or none if it has fewer. */
export function dumpCommand(node: string, length: number): { readonly execute: string; readonly arguments: object } {
  return { execute: 'human-monitor-command', arguments: { 'command-line': `qemu-io ${node} "read -v 0 ${length}"` } };
}

/** A response of the monitor, up to the end of the line. In a dump, all characters but letters and digits are dots. */
const ANSWER = /\{[^\n]*\n?/g;

/** The monitor's responses in the output. */
export function answersIn(printed: string): string[] {
  return printed.match(ANSWER) ?? [];
}

/** The bytes in the output; undefined if they are not exactly `length`. */
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
