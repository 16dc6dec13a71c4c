/**
 * The shape of the action list.
 *
 * Facts of the interface (names, procedure numbers, types, flags, versions) are
 * libguestfs's; see its generator for their origin. This folder holds data only
 * and imports nothing from outside itself.
 */

/** The kind of a string argument; determines how it is checked, traced and transferred. */
export type StringKind =
  /** Free text. */
  | 'plain'
  /** Absolute path inside the guest. */
  | 'pathname'
  /** File name without a slash. */
  | 'filename'
  /** Block device of the appliance, such as `/dev/sda1`. */
  | 'device'
  /** Device, or a Btrfs subvolume written `btrfsvol:/dev/sda1/name`. */
  | 'mountable'
  /** Device or absolute path. */
  | 'dev_or_path'
  /** Mountable or absolute path. */
  | 'mountable_or_path'
  /** Key or passphrase: never shown in traces or logs. */
  | 'key'
  /** GUID such as `c12a7328-f81f-11d2-ba4b-00a0c93ec93b`. */
  | 'guid'
  /** File contents streamed from the client. */
  | 'filein'
  /** File contents streamed to the client. */
  | 'fileout';

/** Members of any argument. */
interface NamedArgument {
  readonly name: string;
  /** Description in sentences, where type and kind are not enough; becomes the field's comment. */
  readonly about?: string;
  /** A secret that libguestfs does not declare as a key: never shown in traces or logs. */
  readonly secret?: true;
  /** A number that the daemon mishandles if it is negative: such a call never reaches it. */
  readonly notNegative?: true;
  /** All values that the daemon knows; it mishandles others: such a call never reaches it. */
  readonly values?: readonly string[];
  /** A path on the server; must be under one of its image roots. */
  readonly onServer?: true;
  /** Identifies a drive by something other than a path on the server: a label, a domain. */
  readonly namesDrive?: true;
}

/** What happens if a path does not exist, or its directory does not. */
export type AbsentPath =
  | 'ENOENT'
  | 'ENOENT for its directory'
  | 'DAEMON_ERROR'
  | 'DAEMON_ERROR for its directory'
  | 'nothing';

/** Members of a required argument. */
interface RequiredArgument extends NamedArgument {
  /** What happens if its path does not exist; unset: ENOENT. */
  readonly ifAbsent?: AbsentPath;
  /** It names a device that need not exist. */
  readonly notLookedFor?: true;
  /** It names a whole disk, not a partition or a volume. */
  readonly wholeDisk?: true;
}

/** A required argument, in XDR order. */
export type ArgumentDef = RequiredArgument &
  (
    | { readonly type: 'string'; readonly kind: StringKind }
    | { readonly type: 'string_list'; readonly kind: 'plain' | 'device' | 'filename' | 'pathname' }
    | { readonly type: 'opt_string' }
    | { readonly type: 'buffer' }
    | { readonly type: 'bool' }
    | { readonly type: 'int' }
    | { readonly type: 'int64' }
    /** A pointer of the C library, which cannot cross a network. */
    | { readonly type: 'pointer' }
  );

/** An optional argument; its position is its bit in the optional arguments bitmask. */
export interface OptionalArgumentDef extends NamedArgument {
  readonly type: 'bool' | 'int' | 'int64' | 'string' | 'string_list';
  /** First version with it, if the action itself is older: earlier daemons do not read it. */
  readonly since?: string;
}

/** A field that a request has in addition to libguestfs's arguments. */
export interface OwnFieldDef {
  readonly name: string;
  readonly type: 'bool';
  /** Description in sentences; becomes the field's comment. */
  readonly about: string;
}

/** What an action returns. */
export type ReturnDef =
  | { readonly type: 'err' }
  | { readonly type: 'bool' | 'int' | 'int64' | 'const_string' | 'const_opt_string' | 'buffer'; readonly name: string }
  | { readonly type: 'string' | 'string_list'; readonly kind: 'plain' | 'device' | 'mountable'; readonly name: string }
  | { readonly type: 'hashtable'; readonly keyKind: string; readonly valueKind: string; readonly name: string }
  | { readonly type: 'struct' | 'struct_list'; readonly struct: string; readonly name: string };

/** Who may see an action. */
export type Visibility =
  /** One RPC in its area's service. */
  | 'public'
  /** As public; not a command of libguestfs's shell. */
  | 'public_nofish'
  /** As public; asks for the state of the session. */
  | 'statetest'
  /** One RPC in `DebugService`, which is off by default. */
  | 'debug'
  /** No RPC: the server itself calls it. */
  | 'internal';

/** What the server's `--allow` can name: permissions that affect its host, or all its clients, and are off by default. */
export type Permission =
  | 'remote-drives'
  | 'block-devices'
  | 'backing-files'
  | 'network'
  | 'channelz'
  | 'host-actions'
  | 'custom-qemu'
  | 'drain';

/**
 * What of a request a permission depends on. A field is named by its path in the request's message:
 * `settings.network`, or `drives.source.value.protocol` for what is set of a oneof, in any element of a list.
 */
export type RequestCondition =
  /** The field has this value. */
  | { readonly field: string; readonly is: boolean }
  /** The field has one of these values. */
  | { readonly field: string; readonly isOneOf: readonly string[] }
  /** The field, or one of its elements, matches. */
  | { readonly field: string; readonly matches: RegExp }
  /** A variable of the server's own environment, written `NAME=value`, matches. */
  | { readonly serverVariable: RegExp };

/** A permission that an RPC needs. */
export interface PermissionDef {
  readonly permission: Permission;
  /** What it is needed for, if not always, as the end of a sentence: `with a `protocol` other than `file``. */
  readonly purpose?: string;
  /**
   * When it is needed; unset: always. `found` stands for what only the work itself finds out, such as a disk on a
   * network in the description of a domain: there the implementation asks for the permission when it gets there.
   */
  readonly when?: RequestCondition | 'found';
  /** What a client without the permission can use instead, as a sentence. */
  readonly instead?: string;
}

/** Why an action is refused by a network service, and what to do instead: the ends of two sentences. */
export interface RefusalDef {
  readonly why: string;
  readonly instead: string;
}

/** One way to fail. */
export interface KnownError {
  /** Name of the gRPC status. */
  readonly status: string;
  /** `reason` of ErrorInfo. */
  readonly reason: string;
  readonly when: string;
}

/** What is examined after a success that may not be what the caller thinks. */
export type Afterwards =
  /** It has mounted `mountable` on `mountpoint` for writing, unless its `options` say otherwise: if it can only be read, the call fails. */
  | 'is it writable'
  /** Its answer `fses` has drives without a file system: a warning says if one has a partition table for other sectors. */
  | 'has it other sectors';

/** How an action behaves on a full file system: without free blocks, and without free inodes. */
export interface FullFileSystem {
  readonly blocks?: 'ENOSPC' | 'DAEMON_ERROR';
  readonly files?: 'ENOSPC' | 'DAEMON_ERROR';
}

/** The value of an argument in protobuf's JSON: bytes are base64, 64-bit numbers are strings. */
export type ExampleValue = string | number | boolean | readonly string[] | { readonly values: readonly string[] };

/** Values of arguments, by name. */
export type ExampleArguments = Readonly<Record<string, ExampleValue>>;

/** The form of an action in daemons up to a version. */
export interface HistoryDef {
  /** Last version (inclusive, of the form `1.48`) with this form. */
  readonly until: string;
  readonly procedure: number;
}

/** One action of the libguestfs API. */
export interface ActionDef {
  /** libguestfs's name. */
  readonly name: string;
  /** Procedure number on the wire; 0 for a library-side action. */
  readonly procedure: number;
  /** First libguestfs version with the action. */
  readonly since: string;
  readonly returns: ReturnDef;
  readonly args: readonly ArgumentDef[];
  /** In the order of the optional arguments bitmask. */
  readonly optargs: readonly OptionalArgumentDef[];
  /** Fields that libguestfs does not know; only of library-side actions, because the daemon does not know them either. */
  readonly ownFields?: readonly OwnFieldDef[];
  /** Where it runs: in the daemon, or on the library's side, which is this server. */
  readonly impl: 'daemon' | 'library';
  readonly visibility: Visibility;
  /** False for an action that changes nothing in guest, appliance or session. */
  readonly mutating: boolean;
  /** One line, without a full stop. */
  readonly summary: string;
  /** What a caller needs to know beyond the summary; may be empty. */
  readonly description: string;
  /** A library-side action that calls the daemon: it runs in its turn, in state READY. */
  readonly usesDaemon?: true;
  /** Its answer is an unbounded list, streamed in batches. */
  readonly inBatches?: true;
  /** What to use when its answer does not fit into one message, as the end of a sentence; unset: no alternative. */
  readonly insteadOfLargeAnswer?: string;
  /** The same of its request. */
  readonly insteadOfLargeRequest?: string;
  /** The daemon's error, without an errno, when it detects in advance that its answer would be too large. */
  readonly largeAnswerText?: RegExp;
  /** The daemon may accept its file and never answer; a ping sent after the file detects that. */
  readonly mayNotAnswer?: true;
  /**
   * Its success says that data has reached the images, and the disks below them: writes that the host failed make it
   * fail. Either the daemon syncs all disks, with their caches ('flushed'), or it is told to afterwards ('synced').
   */
  readonly promisesDurability?: 'flushed' | 'synced';
  /** What the daemon is asked when the action has succeeded, in the same turn. */
  readonly afterwards?: Afterwards;
  /** Reports progress while it runs. */
  readonly progress?: true;
  /** Can be cancelled while it runs. */
  readonly cancellable?: true;
  /** Allowed only in state CONFIG. */
  readonly configOnly?: true;
  /** A library-side action that does not call the daemon but is allowed only in state READY. */
  readonly readyOnly?: true;
  /** Allowed in states CONFIG and READY: not while the appliance starts. */
  readonly notLaunching?: true;
  /** Permissions that the server's operator must grant. */
  readonly permissions?: readonly PermissionDef[];
  /** It makes sense only inside a process that uses the C library: always refused. */
  readonly notOverNetwork?: RefusalDef;
  /** The page in `docs` with more information. */
  readonly guide?: string;
  /** Superseded; `replacedBy` names what to use, where there is such a thing. */
  readonly deprecated?: true;
  readonly replacedBy?: string;
  /** The optional group of the daemon that it needs. */
  readonly optionalGroup?: string;
  /** libguestfs does it in the caller's process, with the caller's files or environment: so do the clients in its form. */
  readonly inCallersProcess?: true;
  /** Its optional arguments came later: libguestfs's bindings have it under its name with `_opts` as well. */
  readonly onceHadNoOptargs?: true;
  /** Other names it has in libguestfs's shell. */
  readonly aliases?: readonly string[];
  readonly history?: readonly HistoryDef[];
  /** The action that has to come before, because this one works on what it opens. */
  readonly openedBy?: string;
  /** How it behaves on a full file system; unset: it needs no space. */
  readonly fullFileSystem?: FullFileSystem;
  /** What it fails with, as far as it does not follow from the rest of the record; the most frequent first. */
  readonly errors?: readonly KnownError[];
  /** Arguments of its example in the reference, where the defaults in `exampleGuest.ts` do not fit. */
  readonly example?: Partial<ExampleArguments>;
  /** What its example sends as a file; unset: a line of text. */
  readonly exampleFile?: Buffer;
}

/** Wire type of a struct's field. */
export type FieldType =
  | 'char'
  | 'string'
  | 'device'
  | 'buffer'
  | 'uuid'
  | 'int32'
  | 'uint32'
  | 'int64'
  | 'uint64'
  | 'bytes'
  | 'optpercent';

/** A struct that actions return. */
export interface StructDef {
  readonly name: string;
  /** Its name in bindings that have no underscores, where it does not follow from `name`. */
  readonly camelName?: string;
  readonly summary: string;
  /** In XDR order; the position is the protobuf field number. */
  readonly fields: readonly { readonly name: string; readonly type: FieldType }[];
}
