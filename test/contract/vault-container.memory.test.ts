import { memoryVault } from '../support/memory-vault.ts';
import { vaultContainerContract } from './vault-container.contract.ts';

vaultContainerContract('in memory', async () => ({ containers: memoryVault({ pageSize: 3 }), close: async () => {} }));
