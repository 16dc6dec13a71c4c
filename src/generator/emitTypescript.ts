/** The methods of the TypeScript client: each action under its name in camelCase, with its value as the result. */
import type { AreaDef } from '../actions/areas.js';
import { camelCase, pascalCase } from '../actions/names.js';
import { hasRpc, isFileIn, isFileOut, isStreamedAnswer } from '../actions/shape.js';
import type { ActionDef, ArgumentDef, OptionalArgumentDef, ReturnDef } from '../actions/types.js';
import { fieldArguments, fullDescription } from './shape.js';
import { wrap } from './text.js';

const TEXT_WIDTH = 110;

const ARGUMENT_TYPES = {
  string: 'string',
  string_list: 'string[]',
  opt_string: 'string | undefined',
  buffer: 'Uint8Array',
  bool: 'boolean',
  int: 'number',
  int64: 'bigint',
  pointer: 'string',
} as const;

const RESULT_TYPES = {
  bool: 'boolean',
  int: 'number',
  int64: 'bigint',
  string: 'string',
  const_string: 'string',
  const_opt_string: 'string | undefined',
  buffer: 'Buffer',
  string_list: 'string[]',
  hashtable: 'Map<string, string>',
} as const;

function resultType(returns: ReturnDef): string {
  switch (returns.type) {
    case 'err':
      return 'void';
    case 'struct':
      return pascalCase(returns.struct);
    case 'struct_list':
      return `${pascalCase(returns.struct)}[]`;
    default:
      return RESULT_TYPES[returns.type];
  }
}

const optional = (action: ActionDef): readonly Pick<OptionalArgumentDef, 'name' | 'type' | 'about'>[] => [
  ...action.optargs,
  ...(action.ownFields ?? []),
];

const optionsName = (action: ActionDef): string => `${pascalCase(action.name)}Options`;

function optionsInterface(action: ActionDef): string {
  const fields = optional(action).map(
    ({ name, type, about }) =>
      `${about === undefined ? '' : `  /** ${about} */\n`}  readonly ${camelCase(name)}?: ${ARGUMENT_TYPES[type]} | undefined;\n`,
  );
  if (fields.length === 0) return '';
  const base = isFileIn(action) ? 'UploadOptions' : 'CallOptions';
  return `\n/** Optional arguments of {@link Actions.${camelCase(action.name)}}. */\nexport interface ${optionsName(action)} extends ${base} {\n${fields.join('')}}\n`;
}

function docComment(action: ActionDef): string {
  const deprecated =
    action.deprecated === true
      ? `   * @deprecated ${action.replacedBy === undefined ? '' : `use {@link Actions.${camelCase(action.replacedBy)}}`}`.trimEnd() +
        '\n'
      : '';
  const lines = wrap(`${action.summary}. ${fullDescription(action)}`.replaceAll('*/', '* /'), TEXT_WIDTH);
  return `  /**\n${lines.map((line) => `   * ${line}\n`).join('')}   * @throws GuestfsRpcError\n${deprecated}   */\n`;
}

/** Names that a parameter cannot have: the last one has the first, the language the other. */
const TAKEN: ReadonlySet<string> = new Set(['options', 'arguments']);

/** The parameter of a required argument. */
function parameterOf({ name }: ArgumentDef): string {
  return TAKEN.has(name) ? `given${pascalCase(name)}` : camelCase(name);
}

/** The request, or the arguments of an upload. */
function message(action: ActionDef): string {
  const field = (name: string, value: string): string => (name === value ? name : `${name}: ${value}`);
  const required = fieldArguments(action).map((argument) => {
    const parameter = parameterOf(argument);
    return field(argument.name, argument.type === 'buffer' ? `bytes(${parameter})` : parameter);
  });
  const others = optional(action).map(({ name, type }) => {
    const value = `options.${camelCase(name)}`;
    return `${name}: ${type === 'string_list' ? `stringList(${value})` : value}`;
  });
  const fields = [...required, ...others, ...(isFileIn(action) ? ['...uploadFields(options)'] : [])];
  return fields.length === 0 ? '{}' : `{ ${fields.join(', ')} }`;
}

/** The name that ts-proto gives to an RPC in its service: a letter after a digit, and one before a capital, differ. */
function memberOf(action: ActionDef): string {
  return camelCase(action.name)
    .replace(/(?<=\d)[a-z]/g, (letter) => letter.toUpperCase())
    .replace(/(?<=[A-Z])[A-Z]$/, (letter) => letter.toLowerCase());
}

/** The check of the arguments, whose result are the options of the call. */
function check(action: ActionDef): string {
  const given = fieldArguments(action).map(parameterOf).join(', ');
  return `const call = checked('${action.name}', ARGUMENTS.${action.name}, [${given}], options);`;
}

function body(service: string, action: ActionDef): string {
  const rpc = `${service}Service.${memberOf(action)}`;
  const given = message(action);
  if (isFileIn(action)) return `await this.session.upload(${rpc}, ${given}, source, call);`;
  if (isFileOut(action)) return `return this.session.download(${rpc}, ${given}, call);`;
  const { returns } = action;
  if (returns.type === 'err') return `await this.session.call(${rpc}, ${given}, call);`;
  if (isStreamedAnswer(action))
    return `return collect(this.session.stream(${rpc}, ${given}, call), ({ ${returns.name}: batch }) => batch);`;
  const answer = `(await this.session.call(${rpc}, ${given}, call)).${returns.name}`;
  return returns.type === 'struct' ? `return present(${answer}, call);` : `return ${answer};`;
}

function method(service: string, action: ActionDef): string {
  const file = isFileIn(action) ? ['source: UploadSource'] : [];
  const required = fieldArguments(action).map(
    (argument) => `${parameterOf(argument)}: ${ARGUMENT_TYPES[argument.type]}`,
  );
  const options =
    optional(action).length > 0 ? optionsName(action) : isFileIn(action) ? 'UploadOptions' : 'CallOptions';
  const parameters = [...file, ...required, `options: ${options} = {}`].join(', ');
  const type = isFileOut(action) ? 'Download' : `Promise<${resultType(action.returns)}>`;
  const head = `  ${isFileOut(action) ? '' : 'async '}${camelCase(action.name)}(${parameters}): ${type} {\n`;
  return `${docComment(action)}${head}    ${check(action)}\n    ${body(service, action)}\n  }\n`;
}

/** The types of an action's arguments, for the check at run time. */
function argumentTypes(action: ActionDef): string {
  const types = (entries: readonly (readonly [string, string])[]): string =>
    entries.length === 0 ? '{}' : `{ ${entries.map(([name, type]) => `${name}: '${type}'`).join(', ')} }`;
  const required = fieldArguments(action).map((argument) => [parameterOf(argument), argument.type] as const);
  const others = optional(action).map(({ name, type }) => [camelCase(name), type] as const);
  const parts = [
    `required: ${types(required)}`,
    ...(others.length === 0 ? [] : [`optional: ${types(others)}`]),
    ...(isFileIn(action) ? ['isUpload: true'] : []),
  ];
  return `  ${action.name}: { ${parts.join(', ')} },\n`;
}

/** clients/typescript/src/actions.ts */
export function emitTypescriptActions(areas: readonly AreaDef[]): string {
  const served = areas.filter(({ service }) => service !== undefined);
  const actions = served.flatMap((area) => area.actions.filter(hasRpc));
  const structs = new Set(actions.flatMap(({ returns }) => ('struct' in returns ? [pascalCase(returns.struct)] : [])));
  return (
    '/* Generated by "npm run generate" from src/actions; do not edit. */\n' +
    served
      .map(
        ({ name, service = '' }) => `import { ${service}Service } from '../../../gen/proto/guestfs/v1/${name}.js';\n`,
      )
      .join('') +
    `import type { ${[...structs].sort().join(', ')} } from '../../../gen/proto/guestfs/v1/structs.js';\n` +
    `import { bytes, collect, present, stringList, uploadFields, type UploadOptions } from './actionParts.js';\n` +
    `import { checked, type ArgumentTypes } from './argumentTypes.js';\nimport type { Download } from './download.js';\n` +
    `import type { CallOptions } from './options.js';\nimport type { Session } from './session.js';\nimport type { UploadSource } from './source.js';\n` +
    `\n/** The arguments of each action. */\nconst ARGUMENTS = {\n${actions.map(argumentTypes).join('')}} as const satisfies Record<string, ArgumentTypes>;\n` +
    actions.map(optionsInterface).join('') +
    '\n/** All actions of libguestfs, in one session. */\nexport class Actions {\n' +
    '  /** @param session the session that all calls name */\n  constructor(readonly session: Session) {}\n\n' +
    served
      .flatMap(({ service = '', actions: own }) => own.filter(hasRpc).map((action) => method(service, action)))
      .join('\n') +
    '}\n'
  );
}
