import type { HostOptions } from './host.ts';

/** What the process that starts a host tells it over the IPC channel. */
export type ToHost = { kind: 'start'; options: HostOptions } | { kind: 'advance'; id: number; targetMs: number };

/** What a host process answers. */
export type FromHost =
  | { kind: 'ready'; port: number | undefined }
  | { kind: 'failed'; message: string }
  | { kind: 'advanced'; id: number; fired: number }
  | { kind: 'advance-failed'; id: number; message: string };

/** The host left because a function ran past its timeout: start another one. */
export const EXIT_RECYCLE = 75;
/** The app or its settings cannot be served: starting again would not help. */
export const EXIT_BAD_APP = 78;
