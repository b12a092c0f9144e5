import { memoryTable } from '../support/memory-catalog.ts';
import { catalogTableContract, contractSchema } from './catalog-table.contract.ts';

catalogTableContract('in memory', () => memoryTable({ schema: contractSchema }));
