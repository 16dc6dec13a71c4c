/**
 * Queries qemu about a drive without a machine. Parsers of images and protocols are a target of
 * attacks, so this qemu is isolated: an unprivileged user, qemu's seccomp sandbox, limits of memory
 * and time, and no files but those that are passed to it.
 */
import type { FileHandle } from 'node:fs/promises';
import { runJailed } from '../jail/jail.js';
import type { JailPlan } from '../jail/jailArguments.js';
import { findQemu } from '../qemu/qemuJail.js';
import { answersIn, dumpCommand, DUMP_GROWTH, dumpIn } from './nodeDump.js';
import { readFully } from './readFully.js';

/** Options common to all runs. */
export interface IsolationSettings {
  /** Name or path of a qemu system emulator. */
  readonly qemuBinary: string;
  /** Unprivileged user for it, if the server is root. */
  readonly user: { readonly uid: number; readonly gid: number } | undefined;
  /** Whether the emulator supports `-sandbox`; by default true. */
  readonly sandbox?: boolean;
}

/** One run. */
export interface IsolatedRun {
  /** Additional arguments of qemu. */
  readonly args: readonly string[];
  /** QMP commands, run between capabilities negotiation and `quit`. */
  readonly commands: readonly { readonly execute: string; readonly arguments?: object }[];
  /** Files that it inherits as descriptors 3, 4, ... */
  readonly fds: readonly number[];
  /** Requests the first bytes of the node `image`; by default none are read. */
  readonly head?: {
    readonly length: number;
    /** An empty file for its output. */
    readonly file: FileHandle;
  };
  readonly memoryBytes: number;
  readonly wallClockMs: number;
  readonly signal: AbortSignal;
}

/** Result of a run. */
export interface IsolatedResult {
  /** Whether it exceeded the time limit. */
  readonly overLimit: boolean;
  /** The first error that its monitor reported. */
  readonly failure: string | undefined;
  /** `virtual-size` of the node `image`, bytes. */
  readonly size: bigint | undefined;
  /** The requested bytes; undefined if there are fewer, or they cannot be read. */
  readonly head: Buffer | undefined;
  /** The last line of its standard error. */
  readonly lastMessage: string;
}

const CPU_SECONDS = 10;
const OPEN_FILES = 1024;
const MAX_OUTPUT_BYTES = 1 << 20;

/** Runs qemu and waits until it has exited. */
export async function runIsolatedQemu(settings: IsolationSettings, run: IsolatedRun): Promise<IsolatedResult> {
  const { head } = run;
  const query = { execute: 'query-named-block-nodes', arguments: { flat: true } };
  const last = [...(head === undefined ? [] : [dumpCommand('image', head.length)]), query, { execute: 'quit' }];
  const result = await runJailed(await jailOf(settings, run), {
    input: [{ execute: 'qmp_capabilities' }, ...run.commands, ...last].map((one) => JSON.stringify(one)).join('\n'),
    fds: run.fds,
    ...(head === undefined ? {} : { stdout: head.file.fd }),
    timeoutMs: run.wallClockMs,
    maxOutputBytes: MAX_OUTPUT_BYTES,
    signal: run.signal,
  });
  const printed =
    head === undefined ? result.stdout : (await readFully(head.file, 0, printedLimit(head.length))).toString();
  const answers = answersIn(printed).flatMap(parseAnswer);
  return {
    overLimit: result.overLimit,
    failure: answers.map((answer) => answer.error?.desc).find((text) => typeof text === 'string'),
    size: sizeOfImage(answers),
    head: head && dumpIn(printed, head.length),
    lastMessage: result.stderr.trim().split('\n').at(-1) ?? '',
  };
}

/** Maximum size of the output for a dump of so many bytes. */
function printedLimit(length: number): number {
  return MAX_OUTPUT_BYTES + length * DUMP_GROWTH;
}

async function jailOf(settings: IsolationSettings, run: IsolatedRun): Promise<JailPlan> {
  const { user, qemuBinary } = settings;
  const { memoryBytes, head } = run;
  return {
    program: await findQemu(qemuBinary),
    args: [...isolatedArguments(settings), ...run.args, '-qmp', 'stdio'],
    user,
    proc: 'unused',
    limits: {
      ...{ addressSpace: memoryBytes, cpuSeconds: CPU_SECONDS, openFiles: OPEN_FILES },
      ...(head === undefined ? {} : { fileSize: printedLimit(head.length) }),
    },
  };
}

/** Arguments of a qemu without a machine, apart from its monitor and what it opens. */
export function isolatedArguments({ sandbox = true }: Pick<IsolationSettings, 'sandbox'>): string[] {
  return [
    ...['-machine', 'none', '-nodefaults', '-no-user-config', '-display', 'none', '-S'],
    // Its default translation buffer alone would be a gigabyte.
    ...['-accel', 'tcg,tb-size=1'],
    ...(sandbox ? ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'] : []),
  ];
}

interface Answer {
  readonly error?: { readonly desc?: unknown };
  readonly return?: unknown;
}

function parseAnswer(line: string): Answer[] {
  try {
    return [JSON.parse(line) as Answer];
  } catch {
    return [];
  }
}

function sizeOfImage(answers: readonly Answer[]): bigint | undefined {
  for (const answer of answers) {
    if (!Array.isArray(answer.return)) continue;
    const node = (answer.return as { 'node-name'?: unknown; image?: { 'virtual-size'?: unknown } }[]).find(
      (one) => one['node-name'] === 'image',
    );
    const size = node?.image?.['virtual-size'];
    if (typeof size === 'number' && size >= 0 && Number.isSafeInteger(size)) return BigInt(size);
  }
  return undefined;
}
