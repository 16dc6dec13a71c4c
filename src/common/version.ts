/** The version of this server. */
import { readFileSync } from 'node:fs';

/** As package.json states it; found from this file's place in dist. */
export const SERVER_VERSION = (
  JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as { readonly version: string }
).version;
