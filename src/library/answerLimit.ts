/** The size limit of an answer. */

/** gRPC clients accept 4 MiB by default; a little of that is reserved for what wraps the value. */
export const ANSWER_LIMIT = 4 * 1024 * 1024 - 4 * 1024;
