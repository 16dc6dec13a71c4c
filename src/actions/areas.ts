/** The areas of the API: each becomes one service, one .proto file and one reference page. */
import { inspect, type CompositeRpcDef } from './compositeRpcs.js';
import type { ActionDef } from './types.js';
import { applianceActions } from './areas/appliance.js';
import { propertyActions } from './areas/property.js';
import { driveActions } from './areas/drive.js';
import { deviceActions } from './areas/device.js';
import { partitionActions } from './areas/partition.js';
import { filesystemActions } from './areas/filesystem.js';
import { xfsActions } from './areas/xfs.js';
import { ntfsActions } from './areas/ntfs.js';
import { btrfsActions } from './areas/btrfs.js';
import { mountActions } from './areas/mount.js';
import { swapActions } from './areas/swap.js';
import { fileActions } from './areas/file.js';
import { textActions } from './areas/text.js';
import { attributeActions } from './areas/attribute.js';
import { transferActions } from './areas/transfer.js';
import { lvmActions } from './areas/lvm.js';
import { raidActions } from './areas/raid.js';
import { ldmActions } from './areas/ldm.js';
import { luksActions } from './areas/luks.js';
import { augeasActions } from './areas/augeas.js';
import { hivexActions } from './areas/hivex.js';
import { inspectionActions } from './areas/inspection.js';
import { inotifyActions } from './areas/inotify.js';
import { journalActions } from './areas/journal.js';
import { commandActions } from './areas/command.js';
import { forensicsActions } from './areas/forensics.js';
import { bootActions } from './areas/boot.js';
import { debugActions } from './areas/debug.js';
import { internalActions } from './areas/internal.js';

/** One area of the API. */
export interface AreaDef {
  /** Name of the files generated for it. */
  readonly name: string;
  /** Name of its gRPC service; none for procedures that only the server calls. */
  readonly service: string | undefined;
  /** What it is about, lower case, without a full stop. */
  readonly about: string;
  readonly actions: readonly ActionDef[];
  /** RPCs of its service that are not actions. */
  readonly compositeRpcs?: readonly CompositeRpcDef[];
}

export const areas: readonly AreaDef[] = [
  {
    name: 'appliance',
    service: 'ApplianceService',
    about: 'life cycle of the appliance and facts about it',
    actions: applianceActions,
  },
  { name: 'property', service: 'PropertyService', about: 'settings of a session', actions: propertyActions },
  {
    name: 'drive',
    service: 'DriveService',
    about: 'drives of a session and disk images on the server',
    actions: driveActions,
  },
  { name: 'device', service: 'DeviceService', about: 'block devices inside the appliance', actions: deviceActions },
  {
    name: 'partition',
    service: 'PartitionService',
    about: 'partition tables and partitions',
    actions: partitionActions,
  },
  {
    name: 'filesystem',
    service: 'FilesystemService',
    about: 'making, checking, resizing and identifying file systems',
    actions: filesystemActions,
  },
  { name: 'xfs', service: 'XfsService', about: 'XFS file systems', actions: xfsActions },
  { name: 'ntfs', service: 'NtfsService', about: 'NTFS file systems', actions: ntfsActions },
  { name: 'btrfs', service: 'BtrfsService', about: 'Btrfs file systems', actions: btrfsActions },
  { name: 'mount', service: 'MountService', about: 'mounting and unmounting', actions: mountActions },
  { name: 'swap', service: 'SwapService', about: 'swap devices and files', actions: swapActions },
  { name: 'file', service: 'FileService', about: 'files and directories', actions: fileActions },
  { name: 'text', service: 'TextService', about: 'searching and counting in text files', actions: textActions },
  {
    name: 'attribute',
    service: 'AttributeService',
    about: 'permissions, owners, times, extended attributes, ACLs, capabilities and SELinux',
    actions: attributeActions,
  },
  {
    name: 'transfer',
    service: 'TransferService',
    about: 'streaming files, archives and compressed contents in and out',
    actions: transferActions,
  },
  {
    name: 'lvm',
    service: 'LvmService',
    about: 'LVM physical volumes, volume groups and logical volumes',
    actions: lvmActions,
  },
  { name: 'raid', service: 'RaidService', about: 'Linux MD arrays', actions: raidActions },
  { name: 'ldm', service: 'LdmService', about: 'Windows dynamic disks', actions: ldmActions },
  { name: 'luks', service: 'LuksService', about: 'encrypted block devices', actions: luksActions },
  {
    name: 'augeas',
    service: 'AugeasService',
    about: 'editing configuration files with Augeas',
    actions: augeasActions,
  },
  { name: 'hivex', service: 'HivexService', about: 'Windows registry hives', actions: hivexActions },
  {
    name: 'inspection',
    service: 'InspectionService',
    about: 'finding out which operating systems an image holds',
    actions: inspectionActions,
    compositeRpcs: [inspect],
  },
  { name: 'inotify', service: 'InotifyService', about: 'watching files in the guest', actions: inotifyActions },
  { name: 'journal', service: 'JournalService', about: 'reading the systemd journal', actions: journalActions },
  { name: 'command', service: 'CommandService', about: 'running commands of the guest', actions: commandActions },
  {
    name: 'forensics',
    service: 'ForensicsService',
    about: 'deleted files, raw blocks and pattern scans',
    actions: forensicsActions,
  },
  { name: 'boot', service: 'BootService', about: 'boot loaders and initial RAM disks', actions: bootActions },
  {
    name: 'debug',
    service: 'DebugService',
    about: 'looking into the appliance; off by default',
    actions: debugActions,
  },
  {
    name: 'internal',
    service: undefined,
    about: 'procedures that only the server itself calls',
    actions: internalActions,
  },
];

/** All actions, in the order of the areas. */
export const allActions: readonly ActionDef[] = areas.flatMap((area) => area.actions);
