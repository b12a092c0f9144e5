import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { among, anyText, filterOf, filterTime } from '../../shared/arm/filter.ts';
import { parseAs } from '../../shared/arm/schemas/common.ts';

const query = z.object({ $filter: filterOf({ status: anyText, startTime: anyText, friendlyName: anyText }) });
const parse = (text: string) => parseAs(query, { $filter: text }).$filter;

describe('filterOf', () => {
  it.each([
    ['', {}],
    ["status eq 'Completed'", { status: 'Completed' }],
    [
      "STATUS  EQ 'Completed' AND StartTime eq '2026-11-23 12:00:00 AM'",
      { status: 'Completed', startTime: '2026-11-23 12:00:00 AM' },
    ],
    ["friendlyName eq 'it''s and eq' and status eq ''", { friendlyName: "it's and eq", status: '' }],
  ])('reads %j', (text, values) => expect(parse(text)).toEqual(values));

  it.each([
    ["status ne 'Completed'", /status ne: the only operator is eq/],
    ["size eq '3'", /size is not known here: expected status, startTime, friendlyName/],
    ["status eq 'a' and status eq 'b'", /comes twice/],
    ["status eq 'a' or friendlyName eq 'b'", /expected "and"/],
    ["status eq 'a", /expected key eq 'value'/],
    ['status eq Completed', /expected key eq 'value'/],
    ["status eq 'a' and ", /expected key eq 'value'/],
  ])('refuses %j', (text, message) => {
    expect(() => parse(text)).toThrow(message);
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: 'InvalidRequest', target: '$filter' }));
  });
});

describe('values', () => {
  const kinds = { startTime: filterTime, status: among(['InProgress', 'Failed']) };
  const read = (text: string) => parseAs(z.object({ $filter: filterOf(kinds) }), { $filter: text }).$filter;
  const timeOf = (text: string) => read(`startTime eq '${text}'`).startTime;

  it.each([
    ['2026-11-23 12:00:00 AM', '2026-11-23T00:00:00Z'],
    ['2026-11-23 12:00:00 PM', '2026-11-23T12:00:00Z'],
    ['2026-11-23 02:30:15 PM', '2026-11-23T14:30:15Z'],
    ['2026-1-5 0:00:00 AM', '2026-01-05T00:00:00Z'],
    ['2026-11-23', '2026-11-23T00:00:00Z'],
    ['2026-11-23T14:30:00Z', '2026-11-23T14:30:00Z'],
    ['2026-11-23T14:30:00.5Z', '2026-11-23T14:30:00Z'],
    ['2026-11-23T14:30:00+02:00', '2026-11-23T12:30:00Z'],
  ])('reads the time %s', (text, at) => expect(timeOf(text)).toBe(Date.parse(at)));

  it.each(['yesterday', '2026-02-30 12:00:00 AM', '2026-11-23 13:00:00 PM', '2026-11-23 10:61:00', '11/23/2026'])(
    'refuses the time %s',
    (text) => expect(() => timeOf(text)).toThrow(/startTime is .*: expected a time such as/),
  );

  it('takes one of a list without case, and names the list otherwise', () => {
    expect(read("status eq 'inprogress'")).toEqual({ status: 'InProgress' });
    expect(() => read("status eq 'Completed'")).toThrow(/status is "Completed": expected InProgress, Failed/);
    expect(read('')).toEqual({});
  });

  it('names every value that is wrong', () => {
    const details = ['startTime', 'status'].map((key) =>
      expect.objectContaining({ target: '$filter', message: expect.stringContaining(key) }),
    );
    expect(() => read("startTime eq 'never' and status eq 'x'")).toThrow(expect.objectContaining({ details }));
  });

  it('asks what values mean together only when each is right', () => {
    const checked = z.object({
      $filter: filterOf(kinds, ({ startTime = 0 }) => (startTime > 9 ? 'is late' : undefined)),
    });
    expect(() => parseAs(checked, { $filter: "startTime eq '2026-11-23'" })).toThrow(/\$filter: is late/);
    expect(() => parseAs(checked, { $filter: "startTime eq '2026-11-23' and status eq 'x'" })).not.toThrow(/is late/);
  });
});
