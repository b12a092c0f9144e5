/**
 * What a caller asks of the version that it is about to change: a service calls it with the ETag of the row that it has read and will
 * replace, or with undefined where there is none, each time before it writes.
 * @throws BackupError PreconditionFailed
 */
export type Precondition = (rowEtag: string | undefined) => void;

/** Of callers that ask for nothing. */
export const always: Precondition = () => {};
