/**
 * Marks files with an extended attribute, which stays with them. Node.js has no calls for these, so a small Python
 * process makes them. It runs as long as the server, because starting one for each file would cost ten times as much as
 * the rest of opening the file.
 */
import { readFileSync } from 'node:fs';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { ISOLATED_PYTHON } from './python.js';
import { startProcess, type StartedProcess } from './subprocess.js';
import { withTimeout } from './waiting.js';

/** Located in the source tree, since the compiler does not copy it. */
const PROGRAM = readFileSync(fileURLToPath(new URL('../../../src/common/fileMarks.py', import.meta.url)), 'utf8');
const [PYTHON = '', ...ISOLATED] = ISOLATED_PYTHON;
/** A file system over a network can take its time. */
const LIMIT_MS = 30_000;
const LONGEST_ANSWER = 64;

/** An answer of the process: `yes` or `no`, whether the file has the mark, or the name of an errno. */
export type MarkAnswer = string;

/** The process, and the callers that wait for its answers, which arrive in the order of the commands. */
class Helper {
  readonly #channel: Duplex;
  readonly #waiting: { readonly resolve: (answer: string) => void; readonly reject: (error: Error) => void }[] = [];
  #text = '';
  #ended: Error | undefined;

  constructor(
    private readonly process: StartedProcess,
    private readonly onEnd: () => void,
  ) {
    this.#channel = process.channels[0] as Duplex;
    this.#channel.on('data', (bytes: Buffer) => this.#receive(bytes.toString('latin1'))).resume();
    this.#channel.on('error', () => undefined);
    this.#channel.on('close', () => this.end(new Error('the process that marks files has ended')));
    for (const output of process.outputs) output.on('error', () => undefined).resume();
    // The process does not keep the server running.
    process.unref();
  }

  ask(command: string): Promise<string> {
    return new Promise((resolve, reject) => {
      if (this.#ended !== undefined) return reject(this.#ended);
      this.#waiting.push({ resolve, reject });
      this.#channel.write(`${command}\n`);
    });
  }

  /** Ends the process; commands without an answer fail. */
  end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.onEnd();
    this.process.kill('SIGKILL');
    this.#channel.destroy();
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #receive(text: string): void {
    this.#text += text;
    const lines = this.#text.split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) this.#waiting.shift()?.resolve(line);
    if (this.#text.length > LONGEST_ANSWER) this.end(new Error('the process that marks files sent an invalid answer'));
  }
}

/** Sets, removes and checks one mark. */
export class FileMarks {
  #helper: Promise<Helper> | undefined;

  /** @param attribute its name, which begins with `user.` */
  constructor(private readonly attribute: string) {}

  /**
   * @param fd must stay open until this has resolved
   * @returns `yes` if the file has the mark now, `no` if it does not, or the errno if the file system refuses
   * @throws Error if the process cannot be started, or does not answer
   */
  async ask(command: 'set' | 'clear' | 'has', fd: number): Promise<MarkAnswer> {
    const helper = await this.#running();
    const late = new Error(`the process that marks files did not answer within ${LIMIT_MS / 1000} s`);
    try {
      return await withTimeout(LIMIT_MS, () => late, helper.ask(`${command} ${fd}`));
    } catch (error) {
      // Its late answers would be mistaken for answers to later commands.
      if (error === late) helper.end(late);
      throw error;
    }
  }

  /** Starts the process, so that the first caller need not wait for it. @throws Error if it cannot be started */
  async start(): Promise<void> {
    await this.#running();
  }

  #running(): Promise<Helper> {
    this.#helper ??= startHelper(this.attribute, () => {
      this.#helper = undefined;
    });
    return this.#helper;
  }
}

async function startHelper(attribute: string, onEnd: () => void): Promise<Helper> {
  try {
    const options = { channels: 1, fds: [], env: { LC_ALL: 'C' }, cwd: '/' };
    return new Helper(await startProcess(PYTHON, [...ISOLATED, '-c', PROGRAM, attribute], options), onEnd);
  } catch (error) {
    onEnd();
    throw error;
  }
}
