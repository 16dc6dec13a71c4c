/** Whether server and gateway understand the environment that the chart gives them. */
import { inProject } from '../support/project.mjs';

/**
 * @typedef {{ name: string, value?: string, valueFrom?: object }} Variable
 * @typedef {{ name: string, env: Variable[] }} Container
 */

/** Name of the pod, as the field of the pod that a variable refers to would have it. */
const POD = 'guestfs-grpc-0';

/**
 * Why the program in a container would refuse its environment; undefined if it would not.
 * @param {Container} container
 */
export async function misunderstanding({ name, env }) {
  /** @type {{ readCommandLine: (args: string[]) => unknown }} */
  const { readCommandLine } = await import(inProject('dist', 'src', 'cli', 'commandLine.js'));
  /** @type {{ gatewayFlags: (args: string[], name: string) => unknown }} */
  const { gatewayFlags } = await import(inProject('dist', 'src', 'cli', 'gateway.js'));
  const own = { ...process.env };
  try {
    for (const { name: variable, value = POD } of env) process.env[variable] = value.replaceAll('$(POD_NAME)', POD);
    if (name === 'gateway') gatewayFlags([], name);
    else readCommandLine([]);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    process.env = own;
  }
}
