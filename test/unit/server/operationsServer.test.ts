/** What operators ask over HTTP. */
import { expect, it } from '@jest/globals';
import { silentLogger, type LogFields, type Logger } from '../../../src/common/logger.js';
import { serveOperations } from '../../../src/server/operationsServer.js';

it('a question that cannot be answered is an error in the log, and ends no other', async () => {
  const errors: LogFields[] = [];
  const logger: Logger = { ...silentLogger, error: (_message, fields = {}) => void errors.push(fields) };
  const unknown = (): Promise<string | undefined> => Promise.reject(new Error('the disk is gone'));
  const server = await serveOperations('127.0.0.1:0', unknown, () => undefined, logger);
  try {
    const ask = async (path: string): Promise<readonly [number, string]> => {
      const response = await fetch(`http://${server.address}${path}`);
      return [response.status, (await response.text()).trim()];
    };
    expect(await ask('/readyz')).toEqual([500, 'failed: the log has the reason']);
    expect(errors).toEqual([{ path: '/readyz', err: new Error('the disk is gone') }]);
    expect(await ask('/healthz')).toEqual([200, 'ok']);
  } finally {
    await server.close();
  }
});
