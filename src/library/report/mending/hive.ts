/** A hive of a Windows registry, open for writing in the daemon, on the drive's overlay. */
import {
  hivexClose,
  hivexCommit,
  hivexNodeGetChild,
  hivexNodeSetValue,
  hivexNodeValues,
  hivexOpen,
  hivexRoot,
  hivexValueKey,
  hivexValueType,
  hivexValueValue,
} from '../../../../gen/calls/hivex.js';
import { isDaemonError, unlessDaemonFails } from '../../tolerance.js';
import type { ActionCalls } from '../actionCalls.js';

/** Types of values. */
export const REG_NONE = 0n;
export const REG_SZ = 1n;
export const REG_EXPAND_SZ = 2n;
export const REG_BINARY = 3n;
export const REG_DWORD = 4n;

/** A crafted key could have any number of them. */
const MAX_VALUES = 1000;

/** A value of a key. */
export interface HiveValue {
  readonly key: string;
  readonly type: bigint;
  readonly content: Buffer;
}

/** An open hive. */
export class Hive {
  #isChanged = false;

  constructor(private readonly actions: ActionCalls) {}

  /** The node at a path; undefined if there is none. */
  async node(...path: readonly string[]): Promise<bigint | undefined> {
    let node: bigint | undefined = (await this.actions.call(hivexRoot, {})).nodeh;
    for (const name of path) {
      node = (await unlessDaemonFails(this.actions.call(hivexNodeGetChild, { nodeh: node, name })))?.child;
      if (node === undefined || node === 0n) return undefined;
    }
    return node;
  }

  async values(node: bigint): Promise<HiveValue[]> {
    const { valuehs } = await this.actions.call(hivexNodeValues, { nodeh: node });
    const values: HiveValue[] = [];
    for (const { hivex_value_h: valueh } of valuehs.slice(0, MAX_VALUES)) {
      const { key } = await this.actions.call(hivexValueKey, { valueh });
      const { datatype: type } = await this.actions.call(hivexValueType, { valueh });
      const { databuf: content } = await this.actions.call(hivexValueValue, { valueh });
      values.push({ key, type, content });
    }
    return values;
  }

  async set(node: bigint, { key, type, content }: HiveValue): Promise<void> {
    await this.actions.call(hivexNodeSetValue, { nodeh: node, key, t: type, val: content });
    this.#isChanged = true;
  }

  async commit(): Promise<boolean> {
    if (this.#isChanged) await this.actions.call(hivexCommit, { filename: undefined });
    return this.#isChanged;
  }
}

/** Changes a hive. Returns true if it was changed, undefined if it cannot be read, as a whole or where it is asked. */
export async function changeHive(
  actions: ActionCalls,
  filename: string,
  change: (hive: Hive) => Promise<void>,
): Promise<boolean | undefined> {
  try {
    await actions.call(hivexOpen, { filename, write: true, verbose: undefined, debug: undefined, unsafe: undefined });
  } catch (error) {
    if (isDaemonError(error)) return undefined;
    throw error;
  }
  try {
    const hive = new Hive(actions);
    await change(hive);
    return await hive.commit();
  } catch (error) {
    if (isDaemonError(error)) return undefined; // one that was cut off can be opened, but not read to its end
    throw error;
  } finally {
    await unlessDaemonFails(actions.call(hivexClose, {}));
  }
}
