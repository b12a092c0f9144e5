import type { Command } from './command.ts';
import { OF_A_VAULT } from './options.ts';
import { followJob } from './strata-job.ts';

/** `strata vault rebuild-catalog`. */
export const rebuildCatalog: Command = {
  noun: 'vault',
  verb: 'rebuild-catalog',
  summary: "build a vault's tables anew from its container",
  details: [
    'Puts back what the tables have lost of a vault: the vault itself, its default policy, its protected items and their recovery',
    'points, from the container alone and from the snapshots that are still there. It can be run at any time and more than once.',
    '',
    'Every item comes back with its protection stopped and its data retained, so that nothing expires before somebody has looked;',
    'running backups and merges of the vault are ended. Give the item a policy to go on. Policies other than the default one',
    'and the history of jobs do not come back.',
  ].join('\n'),
  options: {
    ...OF_A_VAULT,
    container: { value: 'NAME', help: "the vault's blob container, where more than one says that it is this vault's" },
  },
  async run({ values, arm, vaultId, say, show }) {
    const container = values.text('container');
    const path = `${vaultId()}/strata/rebuildCatalog`;
    await followJob(arm, path, container === undefined ? {} : { container }, say, show, ({ report }) =>
      report.map(({ subject, outcome, text }) => `${outcome.padEnd(9)}  ${subject}  ${text}`),
    );
  },
};
