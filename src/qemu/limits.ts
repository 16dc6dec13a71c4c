/** What a machine can have, as libguestfs limits it. */

/** Most drives: SCSI targets of the one controller, less one. */
export const MAX_DRIVES = 255;

/** Least memory that an appliance can work with, MiB. */
export const MIN_MEMSIZE_MB = 256;

/** Most virtual CPUs. */
export const MAX_SMP = 255;
