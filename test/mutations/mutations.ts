import { API } from './api.ts';
import { AUDIT } from './audit.ts';
import { BATCHES } from './batches.ts';
import { BODY_SOCKETS } from './body-sockets.ts';
import { CLEAN_UP } from './clean-up.ts';
import { TURNS } from './turns.ts';
import { COMPACTION } from './compaction.ts';
import { COSTS } from './costs.ts';
import { KEEPING } from './keeping.ts';
import { MERGING } from './merges.ts';
import { RESTORE_UNITS } from './restore-units.ts';
import { RESTORES } from './restores.ts';
import { TRANSFERS } from './transfers.ts';
import { GOING_ON } from './going-on.ts';
import { GUARD } from './guard.ts';
import { LAYOUT } from './layout.ts';
import { MIXED_DISKS } from './mixed-disks.ts';
import { PARTS } from './parts.ts';
import { LISTS } from './lists.ts';
import { MEMORY } from './memory.ts';
import { OPERATIONS } from './operations.ts';
import { REBUILD } from './rebuild.ts';
import { RULES_1_TO_6 } from './rules-1-to-6.ts';
import { RULES_7_TO_13 } from './rules-7-to-13.ts';
import { VERIFY } from './verify.ts';
import type { Mutation } from './mutation.ts';

export const MUTATIONS: readonly Mutation[] = [
  ...API,
  ...AUDIT,
  ...BATCHES,
  ...BODY_SOCKETS,
  ...LAYOUT,
  ...LISTS,
  ...MIXED_DISKS,
  ...MEMORY,
  ...RULES_1_TO_6,
  ...RULES_7_TO_13,
  ...CLEAN_UP,
  ...TURNS,
  ...COMPACTION,
  ...COSTS,
  ...GOING_ON,
  ...GUARD,
  ...PARTS,
  ...REBUILD,
  ...VERIFY,
  ...TRANSFERS,
  ...MERGING,
  ...KEEPING,
  ...RESTORE_UNITS,
  ...RESTORES,
  ...OPERATIONS,
];
