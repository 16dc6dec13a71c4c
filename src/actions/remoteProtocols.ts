/** Protocols of drives that are not files: those of libguestfs's `add_drive` that qemu still has. */
export const REMOTE_PROTOCOLS = ['nbd', 'http', 'https', 'ftp', 'ftps', 'ssh', 'iscsi', 'rbd', 'gluster'] as const;
