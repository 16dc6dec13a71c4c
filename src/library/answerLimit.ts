/** How much one answer may hold. */

/** gRPC clients take messages of 4 MiB unless told otherwise; a little of that is for what wraps the value. */
export const ANSWER_LIMIT = 4 * 1024 * 1024 - 4 * 1024;
