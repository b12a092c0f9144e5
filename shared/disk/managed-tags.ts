/**
 * Tags of snapshots as a resource carries them: 50 of at most 256 characters each, their names in common with whatever else
 * tags resources here (https://learn.microsoft.com/azure/azure-resource-manager/management/tag-resources). So names get a
 * prefix, and a value that is too long goes on in further tags: `strata_about`, `strata_about.2`, ...
 */

const PREFIX = 'strata_';
const MOST_CHARACTERS = 256;
const MOST_TAGS = 50;

/** @throws TypeError when a key or a value has letters that a resource's tag may not have, or there are too many */
export function toResourceTags(tags: Readonly<Record<string, string>>): Record<string, string> {
  const made: Record<string, string> = {};
  for (const [key, value] of Object.entries(tags)) {
    if (!/^[a-z_]+$/.test(key) || !/^[!-~]([ -~]*[!-~])?$/.test(value)) {
      throw new TypeError(
        `tag ${key}='${value}': keys are lower-case letters, values printable ASCII without outer spaces`,
      );
    }
    for (const [i, piece] of pieces(value).entries()) made[`${PREFIX}${key}${i === 0 ? '' : `.${i + 1}`}`] = piece;
  }
  const count = Object.keys(made).length;
  if (count > MOST_TAGS) throw new TypeError(`${count} tags: a resource takes ${MOST_TAGS}`);
  return made;
}

/** No piece begins or ends with a space: ARM may trim it. */
function pieces(value: string): string[] {
  const found: string[] = [];
  for (let from = 0; from < value.length;) {
    let to = Math.min(from + MOST_CHARACTERS, value.length);
    while (to < value.length && to > from + 1 && (value[to] === ' ' || value[to - 1] === ' ')) to -= 1;
    found.push(value.slice(from, to));
    from = to;
  }
  return found;
}

/** Whether Strata has tagged the resource. */
export function hasResourceTags(tags: Readonly<Record<string, string>> | undefined): boolean {
  return Object.keys(tags ?? {}).some((name) => name.startsWith(PREFIX));
}

/** The tags that `toResourceTags` made; others, which a policy of the subscription may have put there, are left out. */
export function fromResourceTags(tags: Readonly<Record<string, string>>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [name, value] of Object.entries(tags)) {
    if (!name.startsWith(PREFIX) || name.includes('.')) continue;
    let whole = value;
    for (let i = 2; tags[`${name}.${i}`] !== undefined; i++) whole += tags[`${name}.${i}`];
    found[name.slice(PREFIX.length)] = whole;
  }
  return found;
}
