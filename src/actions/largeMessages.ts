/** What to use instead of an action whose request, or whose answer, is more than one message holds. */

const FEWER_NAMES = 'ask for fewer names at a time';
const FEWER_LINES = 'ask for fewer lines, or use Download, which streams';
const FEWER_BYTES = 'ask for fewer bytes, or use DownloadOffset, which streams';
const FEWER_NODES = 'give an expression that fewer nodes match';
const FEWER_MATCHES = 'give an expression that fewer lines match, or use Download, which streams';
const IN_BATCHES = 'use Ls, which answers in batches';
const STREAMED = 'use Download, which streams';
const STREAMED_OR_PART = 'use Download, which streams, or Pread for a part';
const STREAMED_HIVE = 'use Download, which streams, for the whole hive';
const STREAMED_INITRD = 'use Download, which streams, for the whole initrd';
const STREAMED_DATABASE = "use Download for the guest's own package database";
const BATCHES_OF_APPLICATIONS = 'use Inspect, which answers in batches';
const streamedOutput = (rpc: string): string =>
  `use ${rpc}, which streams and needs a daemon of 1.55.6 or newer, or let the output go to a file and use Download`;

/** By the name of an action or, for an RPC that is none, of the RPC. */
const insteadOfAnswer: ReadonlyMap<string, string> = new Map(
  Object.entries({
    cat: STREAMED_OR_PART,
    read_file: STREAMED_OR_PART,
    read_lines: STREAMED_OR_PART,
    head: STREAMED_OR_PART,
    tail: STREAMED_OR_PART,
    head_n: FEWER_LINES,
    tail_n: FEWER_LINES,
    pread: FEWER_BYTES,
    pread_device: FEWER_BYTES,
    strings: STREAMED,
    strings_e: STREAMED,
    hexdump: STREAMED,
    grep: FEWER_MATCHES,
    grepi: FEWER_MATCHES,
    egrep: FEWER_MATCHES,
    egrepi: FEWER_MATCHES,
    fgrep: FEWER_MATCHES,
    fgrepi: FEWER_MATCHES,
    zgrep: FEWER_MATCHES,
    zgrepi: FEWER_MATCHES,
    zegrep: FEWER_MATCHES,
    zegrepi: FEWER_MATCHES,
    zfgrep: FEWER_MATCHES,
    zfgrepi: FEWER_MATCHES,
    command: streamedOutput('CommandOut'),
    command_lines: streamedOutput('CommandOut'),
    sh: streamedOutput('ShOut'),
    sh_lines: streamedOutput('ShOut'),
    initrd_cat: STREAMED_INITRD,
    initrd_list: STREAMED_INITRD,
    hivex_node_children: STREAMED_HIVE,
    hivex_node_values: STREAMED_HIVE,
    hivex_value_string: STREAMED_HIVE,
    hivex_value_utf8: STREAMED_HIVE,
    hivex_value_value: STREAMED_HIVE,
    aug_ls: FEWER_NODES,
    aug_match: FEWER_NODES,
    ll: IN_BATCHES,
    llz: IN_BATCHES,
    readdir: IN_BATCHES,
    glob_expand: 'give a pattern that fewer names match, or use Find, which answers in batches',
    lstatlist: FEWER_NAMES,
    lstatnslist: FEWER_NAMES,
    readlinklist: FEWER_NAMES,
    lxattrlist: FEWER_NAMES,
    internal_lstatnslist: FEWER_NAMES,
    internal_readlinklist: FEWER_NAMES,
    internal_lxattrlist: FEWER_NAMES,
    getxattrs: 'use Getxattr for one attribute at a time',
    lgetxattrs: 'use Lgetxattr for one attribute at a time',
    journal_get: 'use Download for the files of the journal, and journalctl to read them',
    inspect_list_applications: BATCHES_OF_APPLICATIONS,
    inspect_list_applications2: BATCHES_OF_APPLICATIONS,
    internal_list_rpm_applications: STREAMED_DATABASE,
    ListSessions: 'ask for fewer sessions with page_size',
  }),
);

const insteadOfRequest: ReadonlyMap<string, string> = new Map(
  Object.entries({
    write: 'use Upload, which streams',
    write_file: 'use Upload, which streams',
    write_append: 'use UploadOffset, which streams, at the end of the file',
    pwrite: 'use UploadOffset, which streams, or write less at a time',
    pwrite_device: 'use UploadOffset, which streams, or write less at a time',
    lstatlist: FEWER_NAMES,
    lstatnslist: FEWER_NAMES,
    readlinklist: FEWER_NAMES,
    lxattrlist: FEWER_NAMES,
  }),
);

/** All names that there is something to say of. */
export const namesWithAlternatives: readonly string[] = [...insteadOfAnswer.keys(), ...insteadOfRequest.keys()];

/** What to do when an action's answer is too large, as the end of a sentence; undefined: nothing else gives it. */
export function insteadOfLargeAnswer(name: string): string | undefined {
  return insteadOfAnswer.get(name);
}

/** What to do when an action's request is too large, as the end of a sentence; undefined: there is nothing else. */
export function insteadOfLargeRequest(name: string): string | undefined {
  return insteadOfRequest.get(name);
}
