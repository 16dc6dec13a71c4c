/** The records by name. */
import { allActions } from './areas.js';
import { serviceRules, type CallRules } from './callRules.js';
import type { ActionDef } from './types.js';

/** All actions, by libguestfs's names. */
export const actionsByName: ReadonlyMap<string, ActionDef> = new Map(allActions.map((action) => [action.name, action]));

const services: ReadonlyMap<string, CallRules> = new Map(Object.entries(serviceRules));

/** What to use when an answer is too large, as the end of a sentence; undefined: no alternative. */
export function insteadOfLargeAnswer(name: string): string | undefined {
  return (actionsByName.get(name) ?? services.get(name))?.insteadOfLargeAnswer;
}

/** What to do when the request of an action is too large, as the end of a sentence; undefined: there is nothing else. */
export function insteadOfLargeRequest(name: string): string | undefined {
  return actionsByName.get(name)?.insteadOfLargeRequest;
}
