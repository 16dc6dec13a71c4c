/** The processor that Windows runs on, from its registry; and a program that says the same. */
import type { Hive } from './hive.js';

/** libguestfs's names, and the numbers in the header of a program, for the names in the registry. */
const PROCESSORS: ReadonlyMap<string, readonly [arch: string, machine: number, magic: number]> = new Map([
  ['AMD64', ['x86_64', 0x8664, 0x20b]],
  ['x86', ['i386', 0x14c, 0x10b]],
  ['ARM64', ['aarch64', 0xaa64, 0x20b]],
]);

const PATH = ['Control', 'Session Manager', 'Environment'];

/** libguestfs's name of the processor; undefined if the registry does not say. */
export async function architectureIn(hive: Hive, controlSet: string): Promise<string | undefined> {
  const node = await hive.node(controlSet, ...PATH);
  if (node === undefined) return undefined;
  const value = (await hive.values(node)).find(({ key }) => key === 'PROCESSOR_ARCHITECTURE');
  const name = value?.content.toString('utf16le').split('\0', 1)[0];
  return name === undefined ? undefined : PROCESSORS.get(name)?.[0];
}

const START = 0x80;

/** The headers of a console program, by which file(1) recognises the processor. */
export function programOf(arch: string | undefined): Buffer {
  const [, machine, magic] =
    [...PROCESSORS.values()].find(([name]) => name === arch) ?? (['x86_64', 0x8664, 0x20b] as const);
  const program = Buffer.alloc(1024);
  program.write('MZ', 0, 'latin1');
  program.writeUInt32LE(START, 0x3c);
  program.write('PE\0\0', START, 'latin1');
  program.writeUInt16LE(machine, START + 4);
  program.writeUInt16LE(1, START + 6);
  program.writeUInt16LE(0xf0, START + 20); // size of the optional header
  program.writeUInt16LE(0x22, START + 22); // an executable
  program.writeUInt16LE(magic, START + 24);
  program.writeUInt16LE(3, START + 24 + 68); // for the console
  return program;
}
