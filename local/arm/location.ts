import { ArmError } from './errors.ts';

/** ARM writes locations in lower case without blanks: 'West Europe' is 'westeurope'. @throws ArmError LocationRequired */
export function canonicalLocation(location: string | undefined): string {
  const text = location?.toLowerCase().replaceAll(/\s/g, '') ?? '';
  if (text === '') {
    throw new ArmError(400, 'LocationRequired', 'The location property is required for this definition.');
  }
  return text;
}
