/** Calls in a form for both sides, and their outcomes. */
import { allActions } from '../../src/actions/areas.js';
import type { ActionDef } from '../../src/actions/types.js';

/** A value of an argument; buffers are given as text. */
export type Argument = string | number | boolean | readonly string[];

/** Placeholder, in arguments and messages, for the directory with the disk images of each side. */
export const HOST_DIRECTORY = '<images>';

/** One call: its required and optional arguments by name, and the file that it streams to the guest. */
export interface Call {
  readonly name: string;
  readonly args: Readonly<Record<string, Argument>>;
  readonly file?: string;
}

/** The outcome of a call: a value of strings, lists and records of them, or an error. */
export type Outcome = { readonly value: unknown } | { readonly errno: string; readonly message: string };

const actions = new Map(allActions.map((action) => [action.name, action]));

/** @throws Error if there is no such action */
export function actionOf({ name }: Pick<Call, 'name'>): ActionDef {
  const action = actions.get(name);
  if (action === undefined) throw new Error(`no action ${name}`);
  return action;
}

/** A call in readable form, which can be copied into a test. */
export function show({ name, args, file }: Call): string {
  const words = Object.entries(args).map(([key, value]) => `${key}: ${JSON.stringify(value)}`);
  return `${name}(${[...words, ...(file === undefined ? [] : [`<- ${JSON.stringify(file.length > 40 ? `${file.slice(0, 40)}...` : file)}`])].join(', ')})`;
}
