/** Whether set-up is wanted: `--no-setup` for `npm start`, or GUESTFS_GRPC_NO_SETUP for every command. */
import { StepFailed } from '../support/run.mjs';

const FLAG = '--no-setup';
const VARIABLE = 'GUESTFS_GRPC_NO_SETUP';

/** How to keep the scripts from installing anything, for people. */
export const HOW_TO_INSTALL_NOTHING = `to install nothing, set ${VARIABLE}=1; npm start also takes ${FLAG}`;

/**
 * True if the environment forbids set-up.
 * @param {NodeJS.ProcessEnv} environment
 * @throws {StepFailed} if the variable is neither true nor false
 */
export function setupForbidden(environment) {
  const value = environment[VARIABLE] ?? '';
  if (['1', 'true', 'yes', 'on'].includes(value.toLowerCase())) return true;
  if (['0', 'false', 'no', 'off', ''].includes(value.toLowerCase())) return false;
  throw new StepFailed(`${VARIABLE}: ${value} is neither true nor false; use 1 or 0`);
}

/**
 * What `npm start` is asked to do.
 * @param {readonly string[]} args Command line after `npm start --`.
 * @param {NodeJS.ProcessEnv} environment
 * @returns {{ setUp: boolean, ownAppliance: boolean, serverArgs: string[] }}
 *   `setUp`: whether what is missing may be installed and built; `ownAppliance`: the user brings an appliance, so
 *   that the default one is not needed; `serverArgs`: the arguments for the server.
 */
export function startRequest(args, environment) {
  const serverArgs = args.filter((arg) => arg !== FLAG);
  return {
    setUp: serverArgs.length === args.length && !setupForbidden(environment),
    ownAppliance:
      Boolean(environment.LIBGUESTFS_PATH) ||
      Boolean(environment.GUESTFS_GRPC_APPLIANCE) ||
      serverArgs.some((arg) => arg === '--appliance' || arg.startsWith('--appliance=')),
    serverArgs,
  };
}
