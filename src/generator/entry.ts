/** The contents of a reference entry for an RPC, before layout. In texts, code is in backquotes. */
import type { AreaDef } from '../actions/areas.js';
import { allActions } from '../actions/areas.js';
import { ANY_STATE, statesOf } from '../actions/callRules.js';
import type { CompositeRpcDef } from '../actions/compositeRpcs.js';
import { hasRpc, isFileIn, isFileOut, isStreamedAnswer } from '../actions/shape.js';
import type { ActionDef, KnownError } from '../actions/types.js';
import { pascalCase } from '../actions/names.js';
import { exampleCommand, grpcurl } from './exampleCommand.js';
import { knownErrors } from './knownErrors.js';
import { fullDescription, requestFields, responseFields, type ProtoField } from './shape.js';

/** A file with more information. */
export interface Guide {
  readonly text: string;
  /** From the root of the project. */
  readonly path: string;
}

/** Everything that the reference says about one RPC. */
export interface Entry {
  /** libguestfs's name of the action, or the RPC's if it is none. */
  readonly name: string;
  readonly service: string;
  readonly rpc: string;
  /** Set if it is deprecated; names the replacement. */
  readonly deprecated?: string;
  /** One sentence, without a full stop. */
  readonly summary: string;
  readonly description: string;
  /** Request and response, in one line. */
  readonly signature: string;
  readonly facts: readonly string[];
  readonly guides: readonly Guide[];
  readonly fields: readonly ProtoField[];
  /** Besides those of any call; undefined for an RPC that is not an action, whose guide describes them. */
  readonly errors?: readonly KnownError[];
  /** Commands for a shell. */
  readonly example: string;
}

const rpcNames = new Map(allActions.filter(hasRpc).map(({ name }) => [name, pascalCase(name)]));

function deprecation({ deprecated, replacedBy = '' }: ActionDef): string | undefined {
  if (!deprecated) return undefined;
  // For one action, libguestfs's replacement can exist only in a library.
  return rpcNames.has(replacedBy) ? `Deprecated; use \`${replacedBy}\`.` : 'Deprecated.';
}

function hostPaths(action: ActionDef): string | undefined {
  const names = [...action.args, ...action.optargs].filter(({ onServer }) => onServer).map(({ name }) => `\`${name}\``);
  return names.length === 0 ? undefined : `${names.join(' and ')} under an \`--image-root\``;
}

/** The preconditions of the action, the most general first. */
function needs(action: ActionDef): readonly string[] {
  const states = statesOf(action);
  const state = states.length < ANY_STATE.length ? `state ${states.join(' or ')}` : undefined;
  return [
    state,
    action.optionalGroup && `optional group \`${action.optionalGroup}\``,
    action.impl === 'daemon' ? `libguestfs ${action.since} or newer` : undefined,
    ...(action.permissions ?? []).map(
      ({ permission, purpose }) => `\`--allow ${permission}\`${purpose === undefined ? '' : ` (${purpose})`}`,
    ),
    hostPaths(action),
  ].filter((one): one is string => Boolean(one));
}

/** How a client can verify a file that it sends or receives. */
function certainty(action: ActionDef): string | undefined {
  if (isFileIn(action))
    return 'in `arguments`, optionally: `progress_hint`, and `exact_size`, `sha256`, `crc32c` that the server compares with what it receives';
  if (isFileOut(action))
    return 'metadata `guestfs-checksum` requests `sha256` or `crc32c`, sent with the size as trailers';
  return undefined;
}

function traits(action: ActionDef): readonly string[] {
  return [
    isFileIn(action) ? 'client-streaming: the client sends the file' : '',
    isFileOut(action) ? 'server-streaming: the server sends the file' : '',
    isStreamedAnswer(action) ? 'server-streaming: the answer is sent in batches' : '',
    action.progress ? 'reports progress' : '',
    action.cancellable ? 'can be cancelled' : '',
    action.mutating ? '' : 'changes nothing',
  ].filter(Boolean);
}

function answerOf(action: ActionDef): string {
  if (isFileOut(action)) return 'the file, in chunks';
  return (
    responseFields(action)
      .map(({ name, label, type }) => `\`${name}\` (${label}${type})`)
      .join('') || 'nothing'
  );
}

function factsOf(action: ActionDef): readonly string[] {
  const origin =
    action.impl === 'daemon'
      ? `procedure ${action.procedure}`
      : `since ${action.since}; implemented by this server, for any daemon`;
  const needed = action.notOverNetwork ? [] : needs(action);
  const certain = certainty(action);
  return [
    `libguestfs: \`${action.name}\`, ${origin}`,
    ...(needed.length === 0 ? [] : [`needs: ${needed.join(', ')}`]),
    ...(traits(action).length === 0 ? [] : [traits(action).join('; ')]),
    `answers: ${answerOf(action)}`,
    ...(certain === undefined ? [] : [certain]),
  ];
}

/** The type of a field, with `optional` if it is; message fields always are. */
export function typeOf({ label, type }: Pick<ProtoField, 'label' | 'type'>): string {
  return type === 'StringList' ? `optional ${type}` : `${label}${type}`;
}

function signatureOf(action: ActionDef): string {
  const fields = requestFields(action)
    .map((field) => `${typeOf(field)} ${field.name}`)
    .join(', ');
  const answer = responseFields(action)
    .map((field) => `${typeOf(field)} ${field.name}`)
    .join('');
  const sent = isFileIn(action) ? ' + file' : '';
  const received = isFileOut(action) ? 'file' : answer;
  return `(${fields})${sent}${received === '' ? '' : ` → ${received}`}`;
}

function guidesOf(action: ActionDef): readonly Guide[] {
  return [
    ...(action.guide === undefined ? [] : [{ text: 'more about it', path: `docs/${action.guide}` }]),
    ...(isFileIn(action) || isFileOut(action) ? [{ text: 'how transfers end', path: 'docs/transfers.md' }] : []),
  ];
}

function actionEntry(service: string, action: ActionDef): Entry {
  const deprecated = deprecation(action);
  return {
    name: action.name,
    service,
    rpc: pascalCase(action.name),
    ...(deprecated === undefined ? {} : { deprecated }),
    summary: action.summary,
    description: fullDescription(action),
    signature: signatureOf(action),
    facts: factsOf(action),
    guides: guidesOf(action),
    fields: requestFields(action),
    errors: knownErrors(action),
    example: exampleCommand(service, action),
  };
}

function compositeEntry(
  service: string,
  { name, messages, summary, description, guide, example }: CompositeRpcDef,
): Entry {
  return {
    name,
    service,
    rpc: name,
    summary,
    description,
    signature: `(${name}Request) → stream ${name}Response`,
    facts: ['not an action of libguestfs', 'server-streaming: the answer is sent in parts; changes nothing'],
    guides: [
      { text: 'how to use it', path: `docs/${guide}` },
      { text: 'its messages', path: `proto/guestfs/v1/${messages}.proto` },
    ],
    fields: [],
    example: grpcurl(`${service}/${name}`, example),
  };
}

/** The entries of an area that has a service; RPCs that are not actions come first. */
export function entriesOf({ service = '', compositeRpcs = [], actions }: AreaDef): readonly Entry[] {
  return [
    ...compositeRpcs.map((rpc) => compositeEntry(service, rpc)),
    ...actions.filter(hasRpc).map((action) => actionEntry(service, action)),
  ];
}
