import { z } from 'zod';
import type { AttemptId, DiskId, ItemId, JobId, PointId } from '../domain/ids.ts';

/* Ids as they stand in documents and rows: they are checked where they are made, and only carried here. */

const branded = <Id extends string>(): z.ZodType<Id> => z.string().min(1) as unknown as z.ZodType<Id>;

export const item = branded<ItemId>();
export const disk = branded<DiskId>();
export const point = branded<PointId>();
export const attempt = branded<AttemptId>();
export const job = branded<JobId>();
