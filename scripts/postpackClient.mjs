/** After `npm pack` in clients/typescript: removes what was compiled for it, which is no source. */
import { rmSync } from 'node:fs';
import { CLIENT_OUTPUT } from './setup/client.mjs';

rmSync(CLIENT_OUTPUT, { recursive: true, force: true });
