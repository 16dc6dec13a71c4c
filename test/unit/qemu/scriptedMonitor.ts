/** The other end of a monitor connection: checks commands, and sends scripted answers. */
import { Duplex } from 'node:stream';

/** One step: the expected next command, and the answer to it. */
export interface Exchange {
  readonly expect: string;
  readonly arguments?: unknown;
  /** Lines of the answer; `$id` is replaced by the command's id. */
  readonly say: readonly string[];
  /** The connection ends after the answer. */
  readonly hangUp?: boolean;
}

export const GREETING =
  '{"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}}, "capabilities": ["oob"]}}\n';

/** Leaves the negotiation mode. */
export const NEGOTIATION: Exchange = { expect: 'qmp_capabilities', say: ['{"return": {}, "id": $id}'] };

export interface ScriptedMonitor {
  /** The client's end. */
  readonly stream: Duplex;
  /** Sends something unsolicited. */
  say(text: string): void;
  /** Steps that have not happened. */
  remaining(): number;
  /** Unexpected commands. */
  readonly surprises: string[];
}

/** Creates a monitor; with `bytewise` it sends everything one byte at a time. */
export function scriptedMonitor(
  script: readonly Exchange[],
  options: { readonly greeting?: string; readonly bytewise?: boolean } = {},
): ScriptedMonitor {
  const left = [...script];
  const surprises: string[] = [];
  let partial = '';
  const stream = new Duplex({
    read: () => undefined,
    write: (chunk: Buffer, _encoding, done) => {
      partial += chunk.toString('utf8');
      for (let end = partial.indexOf('\n'); end >= 0; end = partial.indexOf('\n')) {
        handle(partial.slice(0, end));
        partial = partial.slice(end + 1);
      }
      done();
    },
  });
  const say = (text: string): void => {
    const bytes = Buffer.from(text);
    const size = options.bytewise === true ? 1 : Math.max(bytes.length, 1);
    for (let at = 0; at < bytes.length; at += size) stream.push(bytes.subarray(at, at + size));
  };
  const handle = (line: string): void => {
    const { execute, arguments: args, id } = JSON.parse(line) as { execute: string; arguments?: unknown; id: number };
    const next = left[0];
    if (next === undefined || next.expect !== execute || JSON.stringify(next.arguments) !== JSON.stringify(args)) {
      surprises.push(line);
      return;
    }
    left.shift();
    for (const answer of next.say) say(`${answer.replaceAll('$id', String(id))}\n`);
    if (next.hangUp === true) stream.push(null);
  };
  setImmediate(() => say(options.greeting ?? GREETING));
  return { stream, say, remaining: () => left.length, surprises };
}
