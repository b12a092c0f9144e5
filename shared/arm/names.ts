import { z } from 'zod';
import { BackupError, type ErrorCode } from '../domain/errors.ts';
import { itemKey } from '../services/keys.ts';

/** What a segment of a path may be called, and how that is said. */
const RULES: Readonly<Record<string, { form: RegExp; expected: string }>> = {
  group: {
    form: /^[\p{L}\p{N}_().-]{0,89}[\p{L}\p{N}_()-]$/u,
    expected: '1 to 90 letters, digits, hyphens, underscores, periods and parentheses, without a period at the end',
  },
  vault: {
    form: /^[A-Za-z][A-Za-z0-9-]{1,49}$/,
    expected: '2 to 50 letters, digits and hyphens, beginning with a letter',
  },
  policy: {
    form: /^[A-Za-z][A-Za-z0-9_!-]{2,149}$/,
    expected: '3 to 150 letters, digits, hyphens, underscores and exclamation marks, beginning with a letter',
  },
  location: { form: /^[A-Za-z0-9 ]{1,64}$/, expected: 'the name of a region, such as westeurope' },
};

/** Anything else: ids that are looked up as they are. What no resource can be called is refused rather than not found. */
const OTHER = {
  form: /^[\p{L}\p{N}_().;!-]{1,260}$/u,
  expected: 'letters, digits, hyphens, underscores, periods, parentheses and semicolons',
};

const cannotBe = (kind: string, name: unknown, expected: string): string =>
  `${JSON.stringify(name)} cannot be the name of a ${kind}: expected ${expected}`;

/** What a name of that kind is in a path. */
export function nameSchema(kind: string): z.ZodString {
  const { form, expected } = RULES[kind] ?? OTHER;
  return z.string().regex(form, { error: ({ input }) => cannotBe(kind, input, expected) });
}

/** @throws BackupError InvalidResourceName saying what the name may be */
export function checkName(kind: string, name: string): void {
  const { form, expected } = RULES[kind] ?? OTHER;
  if (form.test(name)) return;
  throw new BackupError('InvalidResourceName', cannotBe(kind, name, expected), { target: kind });
}

/** `West Europe` and `westeurope` are the same region. */
export function regionName(location: string): string {
  return location.replaceAll(/\s/g, '').toLowerCase();
}

/** A VM as the names of its container and item tell it. */
export interface ItemNames {
  readonly resourceGroup: string;
  readonly vmName: string;
}

const SHORT = 'iaasvmcontainerv2';
const VM_PART = /^([\p{L}\p{N}_().-]{1,90});([\p{L}\p{N}_][\p{L}\p{N}_.-]{0,79})$/u;

export const shortContainerName = ({ resourceGroup, vmName }: ItemNames): string =>
  `${SHORT};${resourceGroup.toLowerCase()};${vmName.toLowerCase()}`;
export const containerName = (names: ItemNames): string => `IaasVMContainer;${shortContainerName(names)}`;
export const protectedItemName = (names: ItemNames): string => `VM;${shortContainerName(names)}`;
export const protectableItemName = (names: ItemNames): string => `vm;${shortContainerName(names)}`;

/** Reads `IaasVMContainer;iaasvmcontainerv2;<group>;<vm>` without regard to case. @throws BackupError `code` */
export function parseContainerName(name: string, code: ErrorCode = 'InvalidResourceName'): ItemNames {
  return parsePrefixed(name, 'IaasVMContainer', 'container', code);
}

/**
 * The item that a container and an item name mean together.
 * @throws BackupError `code` when one has not its form or they name different machines
 */
export function parseItemNames(container: string, item: string, code: ErrorCode = 'InvalidResourceName'): ItemNames {
  const names = parseContainerName(container, code);
  const own = parsePrefixed(item, 'VM', 'item', code);
  if (keyOf(names) === keyOf(own)) return names;
  throw new BackupError(
    code,
    `container ${container} and item ${item} name different machines: ${keyOf(names)} and ${keyOf(own)}`,
    { target: 'item' },
  );
}

export function keyOf({ resourceGroup, vmName }: ItemNames): string {
  return itemKey(resourceGroup, vmName);
}

function parsePrefixed(name: string, prefix: string, kind: string, code: ErrorCode): ItemNames {
  const start = `${prefix};${SHORT};`;
  const parts = name.toLowerCase().startsWith(start.toLowerCase()) ? VM_PART.exec(name.slice(start.length)) : null;
  const [, resourceGroup, vmName] = parts ?? [];
  if (resourceGroup !== undefined && vmName !== undefined) return { resourceGroup, vmName };
  throw new BackupError(code, `${JSON.stringify(name)} is no ${kind} name: expected ${start}<resource group>;<vm>`, {
    target: kind,
  });
}
