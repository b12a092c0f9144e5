#!/usr/bin/env node
import type { Command } from './strata/command.ts';
import { runStrata } from './strata/run.ts';
import { cleanUp } from './strata/vault-clean-up.ts';
import { costs } from './strata/vault-costs.ts';
import { rebuildCatalog } from './strata/vault-rebuild-catalog.ts';
import { verifyVault } from './strata/vault-verify.ts';

/** All that `strata` can do. */
const COMMANDS: readonly Command[] = [cleanUp, costs, rebuildCatalog, verifyVault];

process.exitCode = await runStrata(COMMANDS, process.argv.slice(2), process.env, {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
});
