/**
 * Damaged partition tables, mended on the drive's overlay, which is discarded. Neither parted nor the kernel uses a
 * table that names places beyond the end of the drive, or the copy of a GPT at the end of the drive.
 */
import { debug } from '../../../../gen/calls/debug.js';
import type { ActionCalls } from '../actionCalls.js';
import { isPartOf } from '../partOf.js';
import { lines, word, words } from '../shell.js';
import type { Warnings } from '../warnings.js';

/** Drives that have a partition table according to udev, from those that the kernel has found no partitions on. */
const suspicious = (drives: readonly string[]): string => `
for drive in ${words(drives)}; do
  { read -r number <"/sys/block/\${drive##*/}/dev"; } 2>/dev/null || continue
  while read -r entry; do
    case $entry in E:ID_PART_TABLE_TYPE=*) echo "$drive"; break;; esac
  done <"/run/udev/data/b$number"
done 2>/dev/null
:`;

/**
 * Mends a table, and prints what was wrong: `cut NUMBER...` for partitions beyond the end of the drive, `copy` if only
 * the GPT at the end of the drive was sound, `sectors SIZE` for a GPT whose sectors have another size, `lost` if
 * there was a GPT of which no copy is sound.
 *
 * sfdisk and sgdisk read what parted refuses. Type, GUID and name of a partition that is cut short are kept.
 */
const mend = (drive: string): string => `
drive=${word(drive)}
bytes=$(blockdev --getsize64 "$drive") && size=$(blockdev --getss "$drive") || exit 0
sectors=$((bytes / size))
signature() { dd if="$drive" bs=8 count=1 skip=$(($1 / 8)) 2>/dev/null; }
gpt='EFI PART'
mend_gpt() {
  # Without a sound copy, sgdisk begins a new table, or lists what is left of the entries.
  case $(sgdisk -p "$drive" 2>&1) in
    *'Creating new GPT entries'* | *'Main partition table: ERROR'*'Backup partition table: ERROR'*) echo lost; return;;
    *'Main header: ERROR'* | *'Main partition table: ERROR'*) main=damaged;;
  esac
  list=$(sgdisk -p "$drive" 2>/dev/null | awk -v last=$((sectors - 34)) 'table && $3 > last { print $1 ":" $2 } $1 == "Number" { table = 1 }')
  set -- -e
  numbers=
  for one in $list; do
    number=\${one%:*} start=\${one#*:}
    numbers="$numbers $number"
    facts=$(sgdisk -i "$number" "$drive" 2>/dev/null)
    fact() { printf '%s\\n' "$facts" | sed -n "s/^$1: \\([0-9A-Fa-f-]*\\).*/\\1/p"; }
    set -- "$@" -d "$number"
    [ "$start" -lt $((sectors - 34)) ] || continue
    name=$(printf '%s\\n' "$facts" | sed -n "s/^Partition name: '\\(.*\\)'$/\\1/p")
    set -- "$@" -a 1 -n "$number:$start:0" -t "$number:$(fact 'Partition GUID code')" -u "$number:$(fact 'Partition unique GUID')" -c "$number:$name"
  done
  sgdisk "$@" "$drive" >/dev/null 2>&1 || return
  [ -z "$numbers" ] || echo "cut$numbers"
  [ "$main" = "$gpt" ] || echo copy
}
mend_mbr() {
  cut=$(printf '%s\\n' "$table" | awk -F '[=,]' -v sectors=$sectors '/start=/ && $2 + $4 > sectors { sub(/ :.*/, ""); sub(/.*[^0-9]/, ""); print }')
  [ -n "$cut" ] || return
  printf '%s\\n' "$table" | awk -F '[=,]' -v sectors=$sectors '/start=/ { if ($2 + 0 >= sectors) next; if ($2 + $4 > sectors) sub(/size= *[0-9]+/, "size=" (sectors - $2)) } { print }' |
    sfdisk --force --no-reread --no-tell-kernel --wipe never --wipe-partitions never "$drive" >/dev/null 2>&1 || return
  echo cut $cut
}
main=$(signature $size)
table=$(sfdisk -d "$drive" 2>/dev/null)
if [ "$main" = "$gpt" ] || [ "$(signature $((bytes - size)))" = "$gpt" ]; then mend_gpt
elif [ "$(signature 4096)" = "$gpt" ]; then echo sectors 4096
elif [ "$(signature 512)" = "$gpt" ]; then echo sectors 512
elif [ "$(dd if="$drive" bs=1 skip=450 count=1 2>/dev/null | od -An -tx1)" = ' ee' ]; then echo lost
else case $table in *'label: dos'*) mend_mbr;; esac
fi
udevadm settle
:`;

const FIELD = 'partition_table';

/** What a line of the script's output says about a drive. */
function meaning(line: string): string | undefined {
  const [what, ...values] = line.split(' ');
  switch (what) {
    case 'cut':
      return `the drive ends before the end of partition ${values.join(', ')}: the image was probably cut off`;
    case 'copy':
      return 'the GPT at the start of the drive is damaged; its copy at the end of the drive is used';
    case 'sectors':
      return `the GPT is of a drive with sectors of ${values[0] ?? ''} bytes; inspect the image with blocksize ${values[0] ?? ''}`;
    case 'lost':
      return 'both copies of the GPT are damaged, so its partitions are not known; gdisk or testdisk can look for them in a copy of the image';
    default:
      return undefined;
  }
}

/** Mends the table of a drive. Returns true if there is another one now, with a warning that says what was wrong. */
export async function mendTable(
  actions: ActionCalls,
  drive: string,
  field: string,
  warnings: Warnings,
): Promise<boolean> {
  const output = await warnings.attempt({
    field,
    action: debug.action,
    isCut: true,
    ask: () => actions.script(mend(drive)),
  });
  const found = lines(output ?? '').flatMap((line) => meaning(line) ?? []);
  for (const message of found) warnings.add(field, '', 'DAMAGED_TABLE', `${drive}: ${message}`);
  return found.length > 0;
}

/** Mends the tables of drives that ought to have partitions; true if the partitions may be others now. */
export async function mendLostTables(
  actions: ActionCalls,
  drives: readonly string[],
  partitions: readonly string[],
  warnings: Warnings,
): Promise<boolean> {
  const bare = drives.filter((drive) => !partitions.some((one) => isPartOf(one, drive)));
  if (bare.length === 0) return false;
  const output = await warnings.attempt({
    field: 'partitions',
    action: debug.action,
    isCut: true,
    ask: () => actions.script(suspicious(bare)),
  });
  let isMended = false;
  for (const drive of lines(output ?? '')) {
    const field = `devices[${drives.indexOf(drive)}].${FIELD}`;
    if (await mendTable(actions, drive, field, warnings)) isMended = true;
  }
  return isMended;
}
