import { createHash } from 'node:crypto';
import { BackupError } from '../domain/errors.ts';
import { always, type Precondition } from '../services/precondition.ts';
import type { ArmAnswer } from './http.ts';

/** The ETag that clients see of a row's version: opaque, so that nobody reads the table's own out of it. */
export function etagOf(rowEtag: string): string {
  return `"${createHash('sha256').update(rowEtag).digest('hex').slice(0, 32)}"`;
}

/** 200 with a resource and its ETag in the header; the view has it in the body. */
export function withEtag(answer: ArmAnswer, rowEtag: string): ArmAnswer {
  return { ...answer, headers: { ...answer.headers, etag: etagOf(rowEtag) } };
}

/**
 * What If-Match and If-None-Match ask for. A list matches when any of it does, `*` matches whatever is there; quotes may be left out, since
 * clients do.
 */
export function preconditionOf(headers: { get(name: string): string | null }): Precondition {
  const [wanted, unwanted] = ['if-match', 'if-none-match'].map((name) => tagsOf(headers.get(name)));
  if (wanted === undefined && unwanted === undefined) return always;
  return (rowEtag) => {
    const current = rowEtag === undefined ? undefined : etagOf(rowEtag);
    const isAmong = (tags: readonly string[]): boolean =>
      current !== undefined && (tags.includes('*') || tags.includes(current));
    if (wanted !== undefined && !isAmong(wanted)) refuse('If-Match', wanted, current);
    if (unwanted !== undefined && isAmong(unwanted)) refuse('If-None-Match', unwanted, current);
  };
}

function tagsOf(header: string | null): string[] | undefined {
  if (header === null || header.trim() === '') return undefined;
  return header
    .split(',')
    .map((tag) => tag.trim().replace(/^W\//, ''))
    .map((tag) => (tag === '*' || tag.startsWith('"') ? tag : `"${tag}"`));
}

function refuse(header: string, tags: readonly string[], current: string | undefined): never {
  const state = current === undefined ? 'there is no such resource' : `the resource is at ${current}`;
  throw new BackupError('PreconditionFailed', `${header} is ${tags.join(', ')}, but ${state}: read it again`, {
    target: header,
  });
}
