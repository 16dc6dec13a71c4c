/** The version of libguestfs, as reported to clients. */
import type { ApplianceLibraryActions } from '../../gen/libraryActions.js';

/** The version whose list of actions this server has. */
const ACTION_LIST_VERSION = '1.61.1';

/** The daemon's version, since it decides what works; before there is a daemon, that of the action list. */
export const versionActions: Pick<ApplianceLibraryActions, 'version'> = {
  version: async ({ session }) => {
    const text = session.daemonVersion?.text ?? ACTION_LIST_VERSION;
    const [numbers = '', major = '', minor = '', release = '0'] = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text) ?? [];
    const extra = text.slice(numbers.length);
    return { version: { major: BigInt(major), minor: BigInt(minor), release: BigInt(release), extra } };
  },
};
