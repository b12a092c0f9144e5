import type { JobRow } from '../catalog/catalog.ts';
import type { ItemId } from '../domain/ids.ts';
import type { VaultContainer } from '../vault/vault-container.ts';
import type { Chain } from './chain.ts';
import type { Ports } from './ports.ts';

/** What a step of a verify job works with. */
export interface VerifyWork {
  readonly ports: Ports;
  readonly container: VaultContainer;
  readonly chain: Chain;
  readonly item: ItemId;
  /** The partition of the item's points, findings and checks. */
  readonly partition: string;
  readonly job: JobRow;
}
