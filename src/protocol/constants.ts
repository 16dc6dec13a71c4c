/** Constants of the daemon's protocol (libguestfs, generator/XDR.ml). */

export const PROGRAM = 0x2000f5f5;
export const PROTOCOL_VERSION = 4;

/** Largest message, bytes, without its length word. */
export const MESSAGE_MAX = 4 * 1024 * 1024;
/** Maximum size of a chunk's data, bytes. */
export const MAX_CHUNK_SIZE = 8192;

/** In place of a length word: the daemon is up. */
export const LAUNCH_FLAG = 0xf5f55ff5;
/** In place of a length word: cancels the transfer. */
export const CANCEL_FLAG = 0xffffeeee;
/** In place of a length word: a progress message follows. */
export const PROGRESS_FLAG = 0xffff5555;
/** Bytes of a progress message after its flag. */
export const PROGRESS_SIZE = 24;

export const DIRECTION_CALL = 0;
export const DIRECTION_REPLY = 1;
export const STATUS_OK = 0;
export const STATUS_ERROR = 1;

/** Longest errno name in an error reply, bytes. */
export const ERRNO_MAX = 32;
/** Longest text in an error reply, bytes. */
export const ERROR_TEXT_MAX = 64 * 1024;
