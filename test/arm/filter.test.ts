import { describe, expect, it } from 'vitest';
import { oneOf, parseFilter, timeOf } from '../../shared/arm/filter.ts';

const KEYS = ['status', 'startTime', 'friendlyName'];
const parse = (text: string) => Object.fromEntries(parseFilter(text, KEYS));

describe('parseFilter', () => {
  it.each([
    ['', {}],
    ["status eq 'Completed'", { status: 'Completed' }],
    [
      "STATUS  EQ 'Completed' AND StartTime eq '2026-11-23 12:00:00 AM'",
      { status: 'Completed', starttime: '2026-11-23 12:00:00 AM' },
    ],
    ["friendlyName eq 'it''s and eq' and status eq ''", { friendlyname: "it's and eq", status: '' }],
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
  const values = (text: string) => parseFilter(`startTime eq '${text}'`, KEYS);

  it.each([
    ['2026-11-23 12:00:00 AM', '2026-11-23T00:00:00Z'],
    ['2026-11-23 12:00:00 PM', '2026-11-23T12:00:00Z'],
    ['2026-11-23 02:30:15 PM', '2026-11-23T14:30:15Z'],
    ['2026-1-5 0:00:00 AM', '2026-01-05T00:00:00Z'],
    ['2026-11-23', '2026-11-23T00:00:00Z'],
    ['2026-11-23T14:30:00Z', '2026-11-23T14:30:00Z'],
    ['2026-11-23T14:30:00.5Z', '2026-11-23T14:30:00Z'],
    ['2026-11-23T14:30:00+02:00', '2026-11-23T12:30:00Z'],
  ])('reads the time %s', (text, at) => expect(timeOf(values(text), 'startTime')).toBe(Date.parse(at)));

  it.each(['yesterday', '2026-02-30 12:00:00 AM', '2026-11-23 13:00:00 PM', '2026-11-23 10:61:00', '11/23/2026'])(
    'refuses the time %s',
    (text) => expect(() => timeOf(values(text), 'startTime')).toThrow(/startTime is .*: expected a time such as/),
  );

  it('takes one of a list without case, and names the list otherwise', () => {
    const filter = parseFilter("status eq 'inprogress'", KEYS);
    expect(oneOf(filter, 'status', ['InProgress', 'Failed'])).toBe('InProgress');
    expect(() => oneOf(filter, 'status', ['Completed', 'Failed'])).toThrow(/"inprogress": expected Completed, Failed/);
    expect(oneOf(filter, 'operation', ['Backup'])).toBeUndefined();
  });
});
