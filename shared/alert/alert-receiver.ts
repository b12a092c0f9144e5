import type { AlertKind } from '../catalog/alert-row.ts';

/** What a receiver is told: once when an alert is raised and once when it is over, by the same `id`. Times are ISO 8601 in UTC. */
export interface AlertNews {
  readonly id: string;
  readonly event: 'raised' | 'resolved';
  readonly kind: AlertKind;
  /** `<subscription>|<resource group>|<vault>`, lower case. */
  readonly vault: string;
  /** The protected item, `<resource group>;<vm>`, or the job. */
  readonly subject: string;
  readonly message: string;
  readonly raisedAt: string;
  readonly resolvedAt?: string;
}

/** Where alerts go. */
export interface AlertReceiver {
  /** Resolves once the receiver has taken it. After a lost answer it may get the same news again. @throws BackupError AlertNotDelivered */
  tell(news: AlertNews): Promise<void>;
}
