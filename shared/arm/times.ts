/** A time as ARM writes it: ISO 8601 in UTC. */
export const iso = (ms: number): string => new Date(ms).toISOString();

/** A span of time as .NET writes it, `13.23:59:59.0000000`: so the service says how long a soft delete lasts. */
export function timeSpan(ms: number): string {
  const two = (value: number): string => `${Math.floor(value)}`.padStart(2, '0');
  const days = Math.floor(ms / 86_400_000);
  const clock = `${two((ms / 3_600_000) % 24)}:${two((ms / 60_000) % 60)}:${two((ms / 1000) % 60)}`;
  const part = ms % 1000 === 0 ? '' : `.${`${ms % 1000}`.padStart(3, '0')}0000`;
  return `${days === 0 ? '' : `${days}.`}${clock}${part}`;
}
