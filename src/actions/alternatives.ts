/** What to do where a message would be too large: the ends of sentences that several actions share. */

export const FEWER_NAMES = 'ask for fewer names at a time';
export const FEWER_LINES = 'ask for fewer lines, or use Download, which streams';
export const FEWER_BYTES = 'ask for fewer bytes, or use DownloadOffset, which streams';
export const FEWER_NODES = 'give an expression that fewer nodes match';
export const FEWER_MATCHES = 'give an expression that fewer lines match, or use Download, which streams';
export const IN_BATCHES = 'use Ls, which answers in batches';
export const STREAMED = 'use Download, which streams';
export const STREAMED_OR_PART = 'use Download, which streams, or Pread for a part';
export const STREAMED_HIVE = 'use Download, which streams, for the whole hive';
export const STREAMED_INITRD = 'use Download, which streams, for the whole initrd';
export const STREAMED_DATABASE = "use Download for the guest's own package database";
export const BATCHES_OF_APPLICATIONS = 'use Inspect, which answers in batches';
export const streamedOutput = (rpc: string): string =>
  `use ${rpc}, which streams and needs a daemon of 1.55.6 or newer, or let the output go to a file and use Download`;
