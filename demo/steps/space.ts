/** Shows how full the file systems are. */
import { FileServiceService } from '../../gen/proto/guestfs/v1/file.js';
import type { Guide } from '../guide.js';

export async function space(guide: Guide): Promise<void> {
  await guide.call(FileServiceService.dfH, {}, ({ output }) => `\n${output.trimEnd()}`);
}
