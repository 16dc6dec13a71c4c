/** This service, used by the Python client: the programs that measure libguestfs run over it unchanged. */
import { fileURLToPath } from 'node:url';
import { PythonSubject } from './pythonSubject.js';

/** Found from this file's place in dist. */
const CLIENT = fileURLToPath(new URL('../../../clients/python', import.meta.url));

export class PythonClient extends PythonSubject {
  /** @param address of the server */
  constructor(address: string, signal: AbortSignal) {
    super(
      'service',
      {
        PYTHONPATH: `${CLIENT}/guestfs_grpc/alias:${CLIENT}`,
        GUESTFS_GRPC_SERVER: address,
        PYTHONDONTWRITEBYTECODE: '1',
      },
      signal,
    );
  }
}
