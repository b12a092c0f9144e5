import type { AlertReceiver } from '../alert/alert-receiver.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Compute } from '../compute/compute.ts';
import type { DiskSnapshots } from '../disk/disk-snapshots.ts';
import type { RestoreTargets } from '../disk/restore-targets.ts';
import type { Clock, Ids } from '../domain/clock.ts';
import type { CompactionRules } from '../domain/compaction.ts';
import type { Layout } from '../domain/layout.ts';
import type { DiskKind, RatesByKind } from '../domain/source-rates.ts';
import type { Geometry } from '../domain/units.ts';
import type { FrameEncoder } from '../format/frame.ts';
import type { WorkQueue } from '../queue/work-queue.ts';
import type { VaultContainers } from '../vault/vault-container.ts';

/** What is known of storage accounts. */
export interface StorageAccounts {
  /** The blob endpoint of the account of that name, without a slash at its end; undefined when no such account is known. */
  blobEndpoint(accountName: string): string | undefined;
  /** Of which kind the account is that a disk lies in: what it can be asked for in a second hangs on it. */
  kindOf(diskUrl: string): DiskKind;
}

/** What a deployment can set. */
export interface Settings {
  readonly geometry: Geometry;
  readonly layout: Layout;
  /** What source disks give in a second: reads are cut by it. */
  readonly sourceRates: RatesByKind;
  /** Seconds that the audit of one disk may take in one backup, at the disk's rates: what it reads at most. */
  readonly auditSeconds: number;
  /** Seconds between a commit and the deletes that it allows: longer than any message may run. */
  readonly deleteGraceSeconds: number;
  /** Transfers of up to this many bytes, in few regions, are done by the handler that plans them; 0: none. */
  readonly onTheSpotBytes: number;
  /** Seconds that a leftover of a crash is left alone after it was first seen and its job had ended. */
  readonly sweepGraceSeconds: number;
  /** When compaction pays, where it differs from COMPACTION_RULES. */
  readonly compaction?: Partial<CompactionRules>;
  /** Bytes that the nightly verification of an item reads at least; 0: it takes the inventory alone. */
  readonly verifyNightlyBytes: number;
  /** The storage account that restores are tried in; undefined: none. */
  readonly drillAccount: string | undefined;
  /** Days that the rows of ended jobs are kept. */
  readonly jobHistoryDays: number;
  /** Seconds after its start in which a cleanup begins new work. */
  readonly cleanUpSeconds: number;
  /** Bytes that one cleanup of one vault may write, shared between its items. */
  readonly cleanUpBytes: number;
}

/** `info`: what is as it should be. `warning`: what people should know of. `error`: what has failed. */
export type LogLevel = 'info' | 'warning' | 'error';

/** Tells operators something: a sentence, a warning where no level is given. The ids of the work in hand are added to it. */
export type Log = (message: string, level?: LogLevel) => void;

/** Everything outside that the services use. */
export interface Ports {
  readonly vaults: VaultContainers;
  readonly snapshots: DiskSnapshots;
  readonly targets: RestoreTargets;
  readonly catalog: Catalog;
  readonly queue: WorkQueue;
  readonly compute: Compute;
  readonly accounts: StorageAccounts;
  readonly clock: Clock;
  readonly ids: Ids;
  /** What compresses the frames of one writer; where it is not given, handlers do it themselves. */
  readonly frameEncoder?: () => FrameEncoder;
  readonly settings: Settings;
  readonly log: Log;
  /** Who is told of what goes wrong; where it is not given, nobody. */
  readonly alerts?: AlertReceiver | undefined;
}
