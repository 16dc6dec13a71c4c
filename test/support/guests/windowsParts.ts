/** Parts of Windows systems of all versions. */

/** An amd64 console program that consists only of headers. */
export function programHeaders(): Buffer {
  const program = Buffer.alloc(1024);
  const start = 0x80;
  program.write('MZ', 0, 'latin1');
  program.writeUInt32LE(start, 0x3c);
  program.write('PE\0\0', start, 'latin1');
  program.writeUInt16LE(0x8664, start + 4); // for x86-64
  program.writeUInt16LE(1, start + 6);
  program.writeUInt16LE(0xf0, start + 20); // size of the optional header
  program.writeUInt16LE(0x22, start + 22); // an executable
  program.writeUInt16LE(0x20b, start + 24); // PE32+
  program.writeUInt16LE(3, start + 24 + 68); // for the console
  return program;
}

/** A key and all its parent keys, each of which has to exist. */
export function keys(prefix: string, path: string, values: Readonly<Record<string, string>> = {}): string {
  const names = path.split('\\');
  const above = names.map((_name, index) => `[${prefix}\\${names.slice(0, index + 1).join('\\')}]\n`);
  return `${above.join('\n')}${Object.entries(values)
    .map(([name, value]) => `"${name}"=${value}\n`)
    .join('')}\n`;
}

/** A string, in registry text. */
export const text = (value: string): string => `str(1):"${value}"`;
/** A 32-bit number, in registry text. */
export const number = (value: number): string => `dword:${value.toString(16).padStart(8, '0')}`;

/** Keys that are separate hives. */
export const SOFTWARE = 'HKEY_LOCAL_MACHINE\\SOFTWARE';
export const SYSTEM = 'HKEY_LOCAL_MACHINE\\SYSTEM';
