/** Limits of a machine, the same as libguestfs's. */

/** Maximum number of drives: the SCSI targets of the controller, less one. */
export const MAX_DRIVES = 255;

/** Minimum memory of an appliance, MiB. */
export const MIN_MEMSIZE_MB = 256;

/** Maximum number of virtual CPUs. */
export const MAX_SMP = 255;
