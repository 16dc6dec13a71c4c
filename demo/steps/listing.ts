/** Lists names, however many there are, as a stream. */
import { FileServiceService } from '../../gen/proto/guestfs/v1/file.js';
import { HOSTNAME } from '../guest/systemFiles.js';
import type { Guide } from '../guide.js';

export async function listing(guide: Guide): Promise<void> {
  await guide.collect(FileServiceService.ls, { directory: '/' }, (messages) =>
    messages.flatMap(({ listing: names }) => names).join('  '),
  );
  await guide.collect(FileServiceService.find, { directory: '/' }, (messages) => {
    const names = messages.flatMap((message) => message.names);
    return `${names.length} names below /, for example ${names
      .filter((name) => name.startsWith('etc/'))
      .slice(0, 3)
      .join(', ')}`;
  });
  const { content } = await guide.call(FileServiceService.cat, { path: '/etc/hostname' }, 'of /etc/hostname');
  if (content.trim() !== HOSTNAME) throw new Error(`/etc/hostname is ${content}`);
  guide.out.text(content.trim());
}
