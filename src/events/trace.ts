/**
 * Calls and their results as text, in the form of libguestfs's traces: `mkdir "/foo"`, then
 * `mkdir = 0`. A line is bounded, and contains neither control characters, nor keys, nor file
 * content.
 */
import { structs } from '../actions/structs.js';
import type { ActionDef, ArgumentDef, FieldType, OptionalArgumentDef } from '../actions/types.js';

/** Maximum length of a line in characters, without the note that it was truncated. */
export const TRACE_LIMIT = 4096;
/** Bytes of a buffer that are shown; libguestfs's number. */
const BUFFER_LIMIT = 256;

/** Replaces secrets. */
const MASK = '***';
/** Represents a streamed file, which has no name here; libguestfs's shell uses the same notation. */
const STREAM = '-';

type Fields = Readonly<Record<string, unknown>>;

const structsByName = new Map(structs.map((struct) => [struct.name, struct]));

/** A line that stops growing at its limit; later additions cost nothing. */
class Line {
  #text = '';
  #cut = false;

  /** Adds text of this module. */
  add(text: string): this {
    if (this.#cut) return this;
    this.#text += text;
    this.#cut = this.#text.length > TRACE_LIMIT;
    return this;
  }

  /** Adds text from anywhere else. */
  addForeign(value: unknown): this {
    return this.#cut ? this : this.add(escaped(plain(value).slice(0, TRACE_LIMIT + 1)));
  }

  /** `items` with `separator` between them. */
  addList<Item>(items: Iterable<Item>, separator: string, add: (item: Item, index: number) => void): this {
    let index = 0;
    for (const item of items) {
      if (this.#cut) break;
      if (index > 0) this.add(separator);
      add(item, index);
      index += 1;
    }
    return this;
  }

  finish(): string {
    return this.#cut ? `${this.#text.slice(0, TRACE_LIMIT).toWellFormed()}<truncated>` : this.#text.toWellFormed();
  }
}

/** Text, numbers and booleans, unchanged. */
function plain(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      return '';
  }
}

/** Makes control characters, line ends of any kind and text direction marks visible. */
function escaped(text: string): string {
  return text.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, (character) => {
    const code = character.charCodeAt(0);
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Adds bytes: printable ASCII as is, all others escaped. */
function escapedBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) =>
    byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
  ).join('');
}

function addBuffer(line: Line, value: unknown): void {
  if (!(value instanceof Uint8Array)) return;
  line.add(`"${escapedBytes(value.subarray(0, BUFFER_LIMIT))}"`);
  if (value.length > BUFFER_LIMIT) line.add(`<truncated, original size ${value.length} bytes>`);
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function addArgument(line: Line, argument: ArgumentDef, value: unknown): void {
  switch (argument.type) {
    case 'string':
      if (argument.kind === 'key') line.add(`"${MASK}"`);
      else if (argument.kind === 'filein' || argument.kind === 'fileout') line.add(`"${STREAM}"`);
      else line.add('"').addForeign(value).add('"');
      break;
    case 'opt_string':
      if (value === undefined) line.add('null');
      else line.add('"').addForeign(value).add('"');
      break;
    case 'string_list':
      line
        .add('"')
        .addList(listOf(value), ' ', (item) => line.addForeign(item))
        .add('"');
      break;
    case 'buffer':
      addBuffer(line, value);
      break;
    case 'bool':
    case 'int':
    case 'int64':
      line.addForeign(value);
      break;
    case 'pointer':
      line.add('<pointer>');
      break;
  }
}

function addOptionalArgument(line: Line, argument: OptionalArgumentDef, value: unknown): void {
  line.add(` "${argument.name}:`);
  if (argument.secret === true) line.add(MASK);
  else if (argument.type === 'string_list')
    line.addList(listOf((value as Fields).values), ' ', (item) => line.addForeign(item));
  else line.addForeign(value);
  line.add('"');
}

/** The call, such as `mkdir "/foo"`. */
export function traceCall(action: ActionDef, request: object): string {
  const fields = request as Fields;
  const line = new Line().add(action.name);
  for (const argument of action.args) addArgument(line.add(' '), argument, fields[argument.name]);
  for (const argument of action.optargs) {
    const value = fields[argument.name];
    if (value !== undefined) addOptionalArgument(line, argument, value);
  }
  return line.finish();
}

/** A number as C's %g prints it. */
function shortest(value: number): string {
  return String(Number(value.toPrecision(6)));
}

function addField(line: Line, type: FieldType, value: unknown): void {
  if (type === 'buffer') {
    if (value instanceof Uint8Array) line.add(escapedBytes(value.subarray(0, TRACE_LIMIT)));
  } else if (type === 'optpercent') {
    if (typeof value === 'number') line.add(`${shortest(value)} %`);
  } else {
    line.addForeign(value);
  }
}

function addStruct(line: Line, name: string, value: unknown): void {
  const fields = value as Fields;
  for (const field of structsByName.get(name)?.fields ?? []) {
    line.add(`${field.name}: `);
    addField(line, field.type, fields[field.name]);
    line.add(', ');
  }
}

function addValue(line: Line, action: ActionDef, value: unknown): void {
  const { returns } = action;
  switch (returns.type) {
    case 'err':
      line.add('0');
      break;
    case 'bool':
      line.add(value === true ? '1' : '0');
      break;
    case 'int':
    case 'int64':
      line.addForeign(value);
      break;
    case 'string':
    case 'const_string':
      line.add('"').addForeign(value).add('"');
      break;
    case 'const_opt_string':
      line
        .add('"')
        .addForeign(value ?? 'NULL')
        .add('"');
      break;
    case 'buffer':
      addBuffer(line, value);
      break;
    case 'string_list':
      addStrings(line, listOf(value));
      break;
    case 'hashtable':
      addStrings(line, value instanceof Map ? [...(value as Map<string, string>)].flat() : []);
      break;
    case 'struct':
      line.add(`<struct guestfs_${returns.struct} = `);
      addStruct(line, returns.struct, value);
      line.add('>');
      break;
    case 'struct_list': {
      const items = listOf(value);
      line.add(`<struct guestfs_${returns.struct}_list(${items.length})${items.length > 0 ? ' = ' : ''}`);
      line.addList(items, ' ', (item, index) => {
        addStruct(line.add(`[${index}]{`), returns.struct, item);
        line.add('}');
      });
      line.add('>');
      break;
    }
  }
}

function addStrings(line: Line, items: readonly unknown[]): void {
  line
    .add('[')
    .addList(items, ', ', (item) => line.add('"').addForeign(item).add('"'))
    .add(']');
}

/** True if there is a value to show: values that were streamed to the client are not kept for it. */
function isThere(action: ActionDef, response: Fields): boolean {
  switch (action.returns.type) {
    case 'err':
    case 'const_opt_string':
      return true;
    default:
      return response[action.returns.name] !== undefined;
  }
}

/** The result of a successful call, such as `mkdir = 0`; `response` contains the value under its name. */
export function traceResult(action: ActionDef, response: unknown): string {
  const line = new Line().add(`${action.name} = `);
  const fields: Fields = typeof response === 'object' && response !== null ? (response as Fields) : {};
  if (!isThere(action, fields)) return line.add('<stream>').finish();
  addValue(line, action, action.returns.type === 'err' ? undefined : fields[action.returns.name]);
  return line.finish();
}

/** The result of a call that failed: `mkdir = -1 (error)`, or `= NULL` where a pointer would be returned. */
export function traceError(action: ActionDef): string {
  const { type } = action.returns;
  const code = type === 'err' || type === 'bool' || type === 'int' || type === 'int64' ? '-1' : 'NULL';
  return `${action.name} = ${code} (error)`;
}
