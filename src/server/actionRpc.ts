/** The RPCs of actions: what each does once it has its turn. */
import type { Metadata } from '@grpc/grpc-js';
import type { LibraryActions } from '../../gen/libraryActions.js';
import { rulesOf } from '../actions/callRules.js';
import { isFileIn, isFileOut, isStreamedAnswer, takesAnySize } from '../actions/shape.js';
import type { ActionDef } from '../actions/types.js';
import { badArgument } from '../common/errors.js';
import type { ForeignImageProbe } from '../images/foreignProbe.js';
import type { LibraryContext } from '../library/context.js';
import { libraryActions } from '../library/index.js';
import type { AnyDaemonCall } from '../protocol/daemonCall.js';
import type { Daemon } from '../session/daemon.js';
import type { Session } from '../session/session.js';
import type { FileArguments } from './fileMessages.js';
import { FilePieces } from './fileMessages.js';
import { whileHeld } from './requestReader.js';
import type { ActionCall, ActionRpc, AnswerStream } from './rpc.js';
import { downloadCheck, uploadCheck } from './transferChecks.js';
import { countDownload } from './transferMetrics.js';

/** What library-side actions need besides their call. */
export interface ActionSurroundings {
  readonly probe: ForeignImageProbe;
}

/** Library actions as they are called here; the types are those of `LibraryActions`. */
type AnyLibraryAction = (context: LibraryContext, request: object) => Promise<object> | AsyncIterable<object>;

/** The RPC of an action; `codec` is that of a daemon action. */
export function actionRpc(
  action: ActionDef,
  codec: AnyDaemonCall | undefined,
  surroundings: ActionSurroundings,
): ActionRpc {
  const shared = { action, rules: rulesOf(action) };
  if (action.notOverNetwork !== undefined) return { ...shared, kind: 'unary', perform: neverAdmitted };
  if (action.impl === 'library') {
    const implementation = libraryActions[action.name as keyof LibraryActions] as AnyLibraryAction;
    return isStreamedAnswer(action)
      ? { ...shared, kind: 'serverStream', perform: inBatches(implementation, surroundings) }
      : { ...shared, kind: 'unary', perform: atOnce(action, implementation, surroundings) };
  }
  if (codec === undefined) throw new Error(`no codec for ${action.name}`);
  if (isFileIn(action)) return { ...shared, kind: 'clientStream', check: checkUpload, perform: upload(codec) };
  if (isFileOut(action)) return { ...shared, kind: 'serverStream', check: checkDownload, perform: download(codec) };
  return { ...shared, kind: 'unary', perform: ({ daemon, request }) => daemon.call(codec, request) as Promise<object> };
}

/** For actions that the dispatch always refuses; they have no implementation. */
async function neverAdmitted({ rules }: ActionCall): Promise<never> {
  throw new Error(`${rules.name} is always refused`);
}

function checkUpload(request: object): void {
  const fileArguments = request as FileArguments;
  uploadCheck(fileArguments);
  if (fileArguments.progress_hint !== undefined && fileArguments.progress_hint < 0n)
    throw badArgument('progress_hint', 'must not be negative');
}

function checkDownload(_request: object, metadata: Metadata): void {
  downloadCheck(metadata);
}

function upload(codec: AnyDaemonCall): ActionRpc['perform'] {
  return async ({ daemon, request, chunks, signal, toTheEnd }) => {
    const fileArguments = request as FileArguments;
    const check = uploadCheck(fileArguments);
    const size = fileArguments.progress_hint ?? fileArguments.exact_size;
    const answer = (await daemon.upload(codec, request, check(chunks), size)) as object;
    // A client that gave up while the daemon was answering has not been served, unless it can ask again.
    if (!toTheEnd) signal.throwIfAborted();
    return answer;
  };
}

function download(codec: AnyDaemonCall): ActionRpc['perform'] {
  return async ({ daemon, request, metadata }, answers) => {
    const check = downloadCheck(metadata);
    await daemon.download(codec, request, (pieces) => {
      check?.add(pieces);
      countDownload(pieces);
      return answers.write(new FilePieces(pieces));
    });
    if (check !== undefined) answers.endWith(check.trailers());
    return {};
  };
}

function atOnce(
  action: ActionDef,
  implementation: AnyLibraryAction,
  surroundings: ActionSurroundings,
): ActionRpc['perform'] {
  const perform = (call: ActionCall): Promise<object> =>
    implementation(new CallContext(call, surroundings.probe), call.request) as Promise<object>;
  // A large request holds its share of the request memory until its contents have been used.
  return takesAnySize(action) ? (call) => whileHeld(call.request, () => perform(call)) : perform;
}

function inBatches(implementation: AnyLibraryAction, surroundings: ActionSurroundings): ActionRpc['perform'] {
  return async (call: ActionCall, answers: AnswerStream) => {
    const batches = implementation(new CallContext(call, surroundings.probe), call.request) as AsyncIterable<object>;
    for await (const batch of batches) await answers.write(batch);
    return {};
  };
}

/** What a library action sees of its call. */
class CallContext implements LibraryContext {
  readonly #call: ActionCall;

  constructor(
    call: ActionCall,
    readonly probe: ForeignImageProbe,
  ) {
    this.#call = call;
  }

  get action(): ActionDef {
    return this.#call.action;
  }

  get session(): Session {
    return this.#call.session;
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  get requestId(): string | undefined {
    return this.#call.requestId;
  }

  get requireFound(): LibraryContext['requireFound'] {
    return this.#call.requireFound;
  }

  get imageRoots(): LibraryContext['imageRoots'] {
    return this.#call.access.imageRoots;
  }

  get disk(): LibraryContext['disk'] {
    return this.#call.disk;
  }

  get daemon(): Daemon {
    return this.#call.daemon;
  }
}
